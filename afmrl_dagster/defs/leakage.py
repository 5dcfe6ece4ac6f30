"""Blocking checks on everything that learns from listings: it has seen no product of validation or test."""

from collections.abc import Sequence

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.defs.models.assets import BASE_EMBEDDER, BASE_GENERATOR
from afmrl_dagster.defs.rounds.cross_fitted import CROSS_FITTED
from afmrl_dagster.defs.rounds.generators import embedder_key, generator_key
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.seeds import partitions
from afmrl_dagster.tables import TEACHER, Tables
from afmrl_models.config import Profile

LEARNED_FROM_TRAINING = "learned_from_training_alone"


def learners(profile: Profile) -> list[tuple[str, ...]]:
    """The keys of all assets that learn from listings."""
    numbers = range(profile.rounds + 1)
    return [
        BASE_EMBEDDER,
        BASE_GENERATOR,
        TEACHER,
        *([CROSS_FITTED] if profile.attributes.sft.folds > 1 else []),
        *(generator_key(number) for number in numbers),
        *(embedder_key(group) for group in ("baseline", *(f"round_{number}" for number in numbers))),
    ]


def leakage_checks(profile: Profile) -> list[dg.AssetChecksDefinition]:
    """One check a learner: its record of the listings it saw, against splits and evaluation set."""
    return [_leakage_check(key, partitions(profile, key)) for key in learners(profile)]


def _leakage_check(
    key: Sequence[str], partitions_def: dg.PartitionsDefinition | None
) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        name=LEARNED_FROM_TRAINING,
        asset=list(key),
        blocking=True,
        partitions_def=partitions_def,
        description="No listing of a validation or test product, nor of one in the frozen evaluation set, "
        "was seen, by the asset's own record.",
    )
    def check(pipeline: Pipeline) -> dg.AssetCheckResult:
        from afmrl_models.catalog.learned_from import leaks, read_record, summary

        tables, name = Tables(pipeline), "/".join(key)
        record = read_record(pipeline.directory(key))
        leaked = leaks(record, tables.listings, tables.splits, tables.evaluation_set)
        steps = summary(record, leaked, tables.listings)
        steps.insert(0, "asset", name)
        steps = steps.assign(allowed=0, passed=steps["leaked"].map(lambda count: "NO" if count else "yes"))
        shown = {"counts": metadata.table(steps)}
        if len(leaked):
            leaked.insert(0, "asset", name)
            shown["leaked"] = metadata.table(leaked)
        return dg.AssetCheckResult(
            passed=leaked.empty,
            description=None if leaked.empty else _accusation(name, *leaked.iloc[0][1:]),
            metadata=shown,
        )

    return check


def _accusation(asset: str, what: str, listing_id: str, product_id: str, split: str) -> str:
    return (
        f"{asset}: {what} has seen listing {listing_id!r} of product {product_id!r}, which is of the {split} "
        "split: materialize catalog/splits and all that follows it again"
    )
