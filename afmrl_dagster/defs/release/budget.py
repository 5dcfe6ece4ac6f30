"""Whether the ladder's rows may be compared: what they come from, and embedders of equal budget."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from afmrl_dagster.defs.models.assets import BASE_EMBEDDER, BASE_GENERATOR
from afmrl_dagster.defs.rounds.evaluations import Row, metrics_key
from afmrl_dagster.defs.rounds.generators import embedder_key, generator_key
from afmrl_dagster.defs.rounds.product_attributes import attributes_key
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.run_settings import OF_AGCL
from afmrl_dagster.seeds import is_seeded, partition_of
from afmrl_dagster.settings import MadeWith
from afmrl_dagster.tables import LISTINGS, RAW_CATALOG, SPLITS, TEACHER

if TYPE_CHECKING:
    import pandas as pd

EQUAL_BUDGET = "equal_budget"
_NOT_RECORDED = "not recorded"


def other_settings(pipeline: Pipeline, rows: dict[str, list[Row]]) -> "pd.DataFrame":
    """What the rows come from that was made with settings other than the profile's: asset, settings."""
    import pandas as pd

    profile, found = pipeline.profile(), []
    for place, key in _made_of(pipeline, rows):
        made_with = MadeWith.read(place.directory(key))
        others = [] if made_with is None else made_with.other_than(profile, key)
        if others:
            seed = f"{partition_of(place.seed)} " if is_seeded(profile, key) else ""
            found.append((seed + "/".join(key), "; ".join(others)))
    return pd.DataFrame(found, columns=["asset", "made with"])


def unequal_budgets(pipeline: Pipeline, rows: dict[str, list[Row]]) -> "pd.DataFrame":
    """Settings of training, but AGCL's own, that a seed's embedders do not share: a column an embedder."""
    import pandas as pd

    profile, found = pipeline.profile(), []
    for seed in profile.seeds:
        trained = {
            embedder_key(group): _budget(pipeline.of_seed(seed), embedder_key(group)) for group in rows
        }
        for name in sorted({name for budget in trained.values() for name in budget}):
            values = {"/".join(key): budget.get(name, _NOT_RECORDED) for key, budget in trained.items()}
            if len(set(map(str, values.values()))) > 1:
                found.append({"seed": seed, "setting": name, **values})
    return pd.DataFrame(found)


def _budget(pipeline: Pipeline, key: tuple[str, str]) -> dict[str, Any]:
    made_with = MadeWith.read(pipeline.directory(key))
    if made_with is None:
        return {}
    trained = {f"training.{name}": value for name, value in made_with.settings["training"].items()}
    backbone = {f"embedder.{name}": value for name, value in made_with.settings["embedder"].items()}
    return {name: value for name, value in (trained | backbone).items() if name not in OF_AGCL}


def _made_of(pipeline: Pipeline, rows: dict[str, list[Row]]) -> Iterator[tuple[Pipeline, tuple[str, str]]]:
    """Every output that the rows come from, and where it lies."""
    profile = pipeline.profile()
    keys = [RAW_CATALOG, LISTINGS, SPLITS, TEACHER, BASE_EMBEDDER, BASE_GENERATOR]
    for number in range(profile.rounds + 1):
        keys += [generator_key(number), attributes_key(number)]
    keys += [key(group) for group in rows for key in (embedder_key, metrics_key)]
    for key in keys:
        seeds = profile.seeds if is_seeded(profile, key) else profile.seeds[:1]
        for seed in seeds:
            yield pipeline.of_seed(seed), key
