"""What a person does with the champion at a terminal: look, go back, renew the evaluation set."""

from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING

from afmrl_dagster.project import afmrl_home
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.tables import EVALUATION_SET, SPLITS, Tables
from afmrl_models.errors import UserError

if TYPE_CHECKING:
    from afmrl_models.registry.promotion import WayBack


def pipeline_of(config: Path) -> Pipeline:
    """The pipeline of a profile in AFMRL_HOME."""
    return Pipeline(config_path=str(config), home=str(afmrl_home()))


def freeze_evaluation(config: Path) -> str:
    """Freeze today's test split in place of the evaluation set in force; says what was done.

    Raises UserError where there is no test split yet.
    """
    from afmrl_models.catalog.errors import CatalogError
    from afmrl_models.catalog.evaluation_set import freeze_evaluation_set

    pipeline = pipeline_of(config)
    tables = Tables(pipeline)
    if not (pipeline.directory(SPLITS) / "splits.parquet").exists():
        raise UserError("there is no test split to freeze yet: materialize catalog/splits first")
    try:
        before = tables.judged_on().digest
    except (CatalogError, UserError):
        before = "none"
    with pipeline.replacing(EVALUATION_SET) as out:
        freeze_evaluation_set(tables.listings, tables.splits, tables.images, out)
    frozen = Tables(pipeline).judged_on()
    return (
        f"frozen: {len(frozen.listings)} listings, {len(frozen.queries)} of them queries, "
        f"digest {frozen.digest} (before: {before}).\n"
        "Decisions from now on are not comparable with those before."
    )


def versions(config: Path) -> str:
    """The table of all embedder versions. Raises UserError where there is none yet."""
    from afmrl_models.registry.promotion import versions_table

    pipeline = pipeline_of(config)
    profile = pipeline.profile()
    table = versions_table(pipeline.tracking(), profile.name)
    headline = f"{profile.champion.task}/{profile.champion.metric}"
    shown: str = table.rename(columns={"headline": headline}).to_string(index=False)
    return shown


def way_back(config: Path, to: int | None) -> "WayBack":
    """The rollback that is possible, its target loaded once. Raises UserError saying why there is none."""
    from afmrl_models.registry.promotion import find_way_back, read_history

    pipeline = pipeline_of(config)
    events = read_history(pipeline.champion_history())
    formerly = {name for event in events if (name := event.get("champion_after"))}
    return find_way_back(pipeline.tracking(), pipeline.profile().name, to, formerly)


def go_back(config: Path, way: "WayBack", why: str) -> str:
    """Take it; says what was done and what to run next."""
    from afmrl_models.registry.promotion import append_history, roll_back

    pipeline = pipeline_of(config)
    event = way.event(getuser(), why)
    roll_back(pipeline.tracking(), pipeline.profile().name, way, event)
    append_history(pipeline.champion_history(), event)
    return (
        f"champion: {way.target.name} (before: {way.left.name}, which is not promoted again).\n"
        "The index still holds the vectors of the one before. Next:\n"
        f"  afmrl run --config {config} "
        '--select \'key:"release/product_index" or key:"release/identical_products"\''
    )
