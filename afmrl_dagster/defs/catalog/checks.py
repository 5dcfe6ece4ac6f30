"""Blocking checks on listings and splits."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from afmrl_dagster.defs.catalog.assets import RAW_CATALOG
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.tables import LISTINGS, SPLITS, Tables

if TYPE_CHECKING:
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


def _report(key: Sequence[str], verdicts: Sequence["CheckResult"]) -> Iterator[dg.AssetCheckResult]:
    for verdict in verdicts:
        yield dg.AssetCheckResult(
            passed=verdict.passed,
            asset_key=list(key),
            check_name=verdict.name,
            metadata={**verdict.observed, "examples": verdict.examples},
        )


@dg.multi_asset_check(name="listing_checks", specs=_specs(LISTINGS, LISTING_CHECKS))
def listing_checks(pipeline: Pipeline) -> Iterator[dg.AssetCheckResult]:
    """Compare the tables on disk with the source, which is counted anew."""
    from afmrl_models.catalog.checks import check_images_complete, check_rows_accounted, check_unique_ids
    from afmrl_models.catalog.schema import read_table
    from afmrl_models.catalog.sources import open_source

    tables = Tables(pipeline)
    rows = open_source(pipeline.profile().catalog, pipeline.directory(RAW_CATALOG)).count_rows()
    quarantine = read_table(pipeline.directory(LISTINGS) / "quarantine.parquet")
    kept = read_table(pipeline.directory(LISTINGS) / "listings.parquet", ["listing_id"])
    yield from _report(
        LISTINGS,
        [
            check_rows_accounted(rows, kept, quarantine),
            check_unique_ids(kept),
            check_images_complete(kept, tables.images),
        ],
    )


@dg.multi_asset_check(name="split_checks", specs=_specs(SPLITS, SPLIT_CHECKS))
def split_checks(pipeline: Pipeline) -> Iterator[dg.AssetCheckResult]:
    """Judge the splits before anything learns from them."""
    from afmrl_models.catalog.checks import (
        check_products_in_one_split,
        check_queries_answerable,
        check_splits_cover_listings,
    )

    tables = Tables(pipeline)
    judges = (check_products_in_one_split, check_splits_cover_listings, check_queries_answerable)
    by_files = pipeline.profile().splits.kind == "files"
    yield from _report(SPLITS, [judge(tables.listings, tables.splits, by_files=by_files) for judge in judges])
