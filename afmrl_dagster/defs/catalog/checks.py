"""Blocking checks on listings and splits."""

import dagster as dg

from afmrl_dagster.resources import Pipeline
from afmrl_dagster.tables import LISTINGS, SPLITS, Tables


@dg.asset_check(
    asset=list(LISTINGS), blocking=True, description="rows read = rows kept + rows quarantined; ids are unique"
)
def no_row_lost(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Compare the tables on disk with the count of rows that the source gave."""
    from afmrl_models.catalog.checks import check_listings

    verdict = check_listings(pipeline.directory(LISTINGS))
    return dg.AssetCheckResult(passed=verdict.passed, metadata=verdict.observed)


@dg.asset_check(
    asset=list(SPLITS), blocking=True, description="no product is in two splits; every listing is in one"
)
def no_product_in_two_splits(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Leakage between train, validation and test would make every number a lie."""
    from afmrl_models.catalog.checks import check_splits

    tables = Tables(pipeline)
    verdict = check_splits(tables.listings, tables.splits)
    return dg.AssetCheckResult(passed=verdict.passed, metadata=verdict.observed)
