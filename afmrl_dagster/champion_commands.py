"""What a person does with the champion at a terminal: renew the evaluation set."""

from pathlib import Path

from afmrl_dagster.project import afmrl_home
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.tables import EVALUATION_SET, SPLITS, Tables
from afmrl_models.errors import UserError


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
