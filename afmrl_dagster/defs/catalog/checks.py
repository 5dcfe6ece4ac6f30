"""Blocking checks on listings and splits."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.run_settings import as_raw_was_read
from afmrl_dagster.tables import LISTINGS, RAW_CATALOG, SPLITS, Tables

if TYPE_CHECKING:
    import pandas as pd

    from afmrl_models.catalog.checks import CheckResult

LISTING_CHECKS = {
    "rows_accounted": "Every row that was read is kept, or quarantined with a reason.",
    "unique_listing_ids": "There are listings, and no id is missing or comes twice.",
    "images_complete": "Every listing has its photo in the image store.",
}
SPLIT_CHECKS = {
    "products_in_one_split": "No product is in two splits: leakage would make every number a lie.",
    "splits_cover_listings": "Every listing is in exactly one split, and no split is empty.",
    "queries_answerable": "Every query of a known product has another listing of it in the gallery.",
}


def _specs(key: Sequence[str], checks: dict[str, str]) -> list[dg.AssetCheckSpec]:
    return [dg.AssetCheckSpec(n, asset=list(key), blocking=True, description=d) for n, d in checks.items()]


def _report(
    context: dg.AssetCheckExecutionContext,
    key: Sequence[str],
    verdicts: Sequence["CheckResult"],
    tables: Tables,
) -> Iterator[dg.AssetCheckResult]:
    """What was asked for: can_subset lets Dagster's UI execute checks without their asset."""
    asked = {check.name for check in context.selected_asset_check_keys}
    for verdict in verdicts:
        if verdict.name not in asked:
            continue
        shown: dict[str, Any] = {"counts": metadata.table(verdict.counts())}
        if verdict.examples:
            shown["broken_by"] = metadata.table(_rows(verdict.examples, tables, with_splits=key == SPLITS))
        yield dg.AssetCheckResult(
            passed=verdict.passed, asset_key=list(key), check_name=verdict.name, metadata=shown
        )


def _rows(broken: Sequence[str], tables: Tables, with_splits: bool) -> "pd.DataFrame":
    """What breaks a demand, with its listings where it is the id of a listing or of a product."""
    import pandas as pd

    listings = tables.listings[["listing_id", "product_id", "title"]]
    found = listings[listings["listing_id"].isin(broken) | listings["product_id"].isin(broken)]
    if with_splits:
        found = found.merge(tables.splits, on="listing_id", how="left")
    missing = set(broken) - set(found["listing_id"]) - set(found["product_id"])
    return pd.concat([found, pd.DataFrame({"listing_id": sorted(missing)}, dtype=object)]).fillna("")


@dg.multi_asset_check(name="listing_checks", specs=_specs(LISTINGS, LISTING_CHECKS), can_subset=True)
def listing_checks(
    context: dg.AssetCheckExecutionContext, pipeline: Pipeline
) -> Iterator[dg.AssetCheckResult]:
    """Compare the tables on disk with the source, which is counted anew."""
    from afmrl_models.catalog.checks import check_images_complete, check_rows_accounted, check_unique_ids
    from afmrl_models.catalog.schema import read_table
    from afmrl_models.catalog.sources import open_source

    tables = Tables(pipeline)
    catalog = pipeline.with_settings(as_raw_was_read(pipeline)).profile().catalog
    rows = open_source(catalog, pipeline.directory(RAW_CATALOG)).count_rows()
    quarantine = read_table(pipeline.directory(LISTINGS) / "quarantine.parquet")
    kept = read_table(pipeline.directory(LISTINGS) / "listings.parquet", ["listing_id"])
    yield from _report(
        context,
        LISTINGS,
        [
            check_rows_accounted(rows, kept, quarantine),
            check_unique_ids(kept),
            check_images_complete(kept, tables.images),
        ],
        tables,
    )


@dg.multi_asset_check(name="split_checks", specs=_specs(SPLITS, SPLIT_CHECKS), can_subset=True)
def split_checks(context: dg.AssetCheckExecutionContext, pipeline: Pipeline) -> Iterator[dg.AssetCheckResult]:
    """Judge the splits before anything learns from them."""
    from afmrl_models.catalog.checks import (
        check_products_in_one_split,
        check_queries_answerable,
        check_splits_cover_listings,
    )

    tables = Tables(pipeline)
    judges = (check_products_in_one_split, check_splits_cover_listings, check_queries_answerable)
    by_files = pipeline.profile().splits.kind == "files"
    verdicts = [judge(tables.listings, tables.splits, by_files=by_files) for judge in judges]
    yield from _report(context, SPLITS, verdicts, tables)
