"""A shop whose attribute tables are judged: a profile, its steward's file, and a generator at our command.

The generator is replaced by one that writes what a test wants; catalog, teacher, checks and Dagster are real.
"""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pandas as pd
import pytest
import yaml

from afmrl_dagster.attribute_tables import AttributeTables
from afmrl_dagster.definitions import build_definitions
from afmrl_dagster.resources import Pipeline
from afmrl_models.attributes.grammar import clean, render

KEY, EMBEDDER = ("round_0", "product_attributes"), ("round_0", "embedder")
STEWARD = """
- {name: grammar, expect: texts_parse, description: texts parse}
- {name: kinds, expect: vocabulary, keys: [type], values: teacher, mostly: 0.5, description: known types}
- {name: not_one_word, expect: variety, keys: [type], max_share: 0.8, description: not all the same}
- {name: no_flood, expect: new_values, keys: [colour], max_share: 0.2, description: few new colours}
- {name: as_the_shop, expect: agrees_with_shop, keys: [colour], mostly: 0.95, severity: warning,
   description: as the sellers say}
"""
Poison = Callable[[int, dict[str, str]], dict[str, str] | str]


class Shop:
    """A profile with its steward's file, its catalog and teacher's table, and a generator at our command."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance, **changes: object) -> None:
        self.folder, self.instance = folder, instance
        self.config = folder / "shop.yaml"
        profile = {
            "name": "shop",
            "device": "cpu",
            "catalog": {"source": {"kind": "generated", "products": 30}, "image_size": 28},
            "splits": {"validation": 0.2, "test": 0.3},
            "attributes": {"keys": ["type", "colour"]},
            "expectations": "steward.yaml",
            **changes,
        }
        self.config.write_text(yaml.safe_dump(profile), encoding="utf-8")
        self.demand(STEWARD)

    def demand(self, entries: str) -> None:
        """Write the steward's file."""
        (self.folder / "steward.yaml").write_text(entries, encoding="utf-8")
        self.definitions = build_definitions(self.config, self.folder / "home")
        self.pipeline = Pipeline(config_path=str(self.config), home=str(self.folder / "home"))

    def make(self, *keys: tuple[str, ...], seed: int | None = None) -> dg.ExecuteInProcessResult:
        several = len(self.pipeline.profile().seeds) > 1
        for of_seed in map(self.pipeline.of_seed, self.pipeline.profile().seeds):
            of_seed.directory(("round_0", "attribute_generator")).mkdir(parents=True, exist_ok=True)
        job = "everything" if not several else "shared" if seed is None else "seeds"
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(list(key)) for key in keys],
            partition_key=None if seed is None else f"seed_{seed}",
            raise_on_error=False,
        )

    def judge_again(self, *names: str, seed: int | None = None) -> dg.ExecuteInProcessResult:
        """Execute the checks of the table alone, or some of them, as the buttons in the UI do."""
        key = dg.AssetKey(list(KEY))
        job = self.definitions.resolve_job_def("everything" if seed is None else "seeds")
        checks = {check for check in job.asset_layer.asset_graph.asset_check_keys if check.asset_key == key}
        asked = {check for check in checks if check.name in names} if names else checks
        return job.get_subset(asset_selection=set(), asset_check_selection=asked).execute_in_process(
            instance=self.instance,
            partition_key=None if seed is None else f"seed_{seed}",
            raise_on_error=False,
        )

    def tables(self, seed: int | None = None) -> AttributeTables:
        return AttributeTables(self.pipeline if seed is None else self.pipeline.of_seed(seed), KEY[0])


def scripted_generator(monkeypatch: pytest.MonkeyPatch) -> Callable[[Poison | None], None]:
    """Let the generator write what the sellers state, changed by a function of row and pairs."""
    chosen: list[Poison | None] = [None]

    def write_attributes(_: object, listings: pd.DataFrame, *__: object, **___: object) -> pd.DataFrame:
        rows: list[dict[str, str] | str] = []
        for row, stated in enumerate(listings["attributes"]):
            pairs = clean(stated or {}, ["type", "colour"]) or {"colour": "red"}
            rows.append(pairs if chosen[0] is None else chosen[0](row, pairs))
        return pd.DataFrame(
            {
                "listing_id": list(listings["listing_id"]),
                "attributes_text": [r if isinstance(r, str) else render(r) for r in rows],
                "attributes": pd.Series([None if isinstance(r, str) else r for r in rows], dtype=object),
                "valid": [not isinstance(r, str) for r in rows],
                "generator_version": "g/1",
                "content_hash": list(listings["content_hash"]),
            }
        )

    monkeypatch.setattr("afmrl_models.attributes.writing.write_attributes", write_attributes)
    monkeypatch.setattr("afmrl_models.attributes.generator.AttributeGenerator.load", lambda *_: None)
    monkeypatch.setattr(
        "afmrl_dagster.defs.rounds.product_attributes.recall_version",
        lambda _: SimpleNamespace(name="g", version="1"),
    )

    def choose(poison: Poison | None) -> None:
        chosen[0] = poison

    return choose


CATALOG = [("catalog", name) for name in ("raw_catalog", "listings", "splits")]
TEACHER = ("attributes", "teacher_attributes")

POISON: dict[str, tuple[Poison, set[str]]] = {
    "nonsense": (lambda row, pairs: {k: f"xq{v[::-1]}" for k, v in pairs.items()}, {"kinds", "no_flood"}),
    "one value": (lambda row, pairs: {**pairs, "type": "mug"}, {"not_one_word"}),
    "empty texts": (lambda row, pairs: "", {"grammar", "kinds", "not_one_word", "no_flood"}),
    "swapped": (
        lambda row, pairs: {"type": pairs.get("colour", "red"), "colour": pairs.get("type", "mug")},
        {"kinds", "no_flood"},
    ),
    "flood": (lambda row, pairs: {**pairs, "colour": f"shade & {row}"}, {"no_flood"}),
}
