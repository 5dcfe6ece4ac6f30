"""The steward's expectations of each round's attribute table, each an asset check of its own."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.attribute_tables import AttributeTables
from afmrl_dagster.defs.rounds.product_attributes import attributes_key
from afmrl_dagster.resources import Pipeline, data_docs_root, data_docs_ui
from afmrl_dagster.seeds import is_seeded, partition_of, partitions
from afmrl_dagster.tables import Tables
from afmrl_models.config import Profile

if TYPE_CHECKING:
    from afmrl_models.attributes.judgement import Verdict
    from afmrl_models.catalog.images import ImageStore

SEVERITY = {"critical": dg.AssetCheckSeverity.ERROR, "warning": dg.AssetCheckSeverity.WARN}
_PHOTOS = 8


def attribute_expectations(round_number: int, profile: Profile) -> dg.AssetChecksDefinition:
    """Judge the round's candidate; it comes into force unless a critical expectation fails.

    The checks alone, or one of them, can be executed again in the UI, after the steward has changed the
    file: a refused candidate is then judged anew by all of them, without being written anew.
    """
    key = attributes_key(round_number)

    @dg.multi_asset_check(
        name=f"expectations_of_{key[0]}",
        specs=[
            dg.AssetCheckSpec(
                entry.name,
                asset=list(key),
                blocking=entry.severity == "critical",
                description=entry.description,
                partitions_def=partitions(profile, key),
            )
            for entry in profile.expectations
        ],
        can_subset=True,  # else Dagster's UI executes none of them without writing the table anew
    )
    def checks(context: dg.AssetCheckExecutionContext, pipeline: Pipeline) -> Iterator[dg.AssetCheckResult]:
        from afmrl_models.attributes.judgement import Material, is_accepted, judge

        tables, versions = Tables(pipeline), AttributeTables(pipeline, key[0])
        table, last = versions.to_judge()
        material = Material(
            table,
            tables.listings,
            tables.attribute_keys,
            tables.attribute_table("attributes"),
            last=last,
            train=frozenset(tables.of("train")["listing_id"]),
        )
        verdicts = judge(profile.expectations, material, docs=pipeline.data_docs(key[0]))
        accepted = is_accepted(verdicts)
        versions.record(verdicts, accepted)
        context.op_execution_context.log_event(
            dg.AssetObservation(
                asset_key=list(key),
                partition=partition_of(pipeline.seed) if is_seeded(profile, key) else None,
                metadata={
                    "accepted": accepted,
                    "in_force": versions.in_force(),
                    "failed": ", ".join(v.name for v in verdicts if not v.passed) or "nothing",
                    "data_docs": _docs(pipeline, key[0]),
                },
            )
        )
        asked = {check.name for check in context.selected_asset_check_keys}
        for verdict in verdicts:
            if verdict.name in asked:
                yield _result(verdict, key, pipeline, tables.images, versions.in_force())

    return checks


def _result(
    verdict: "Verdict", key: Sequence[str], pipeline: Pipeline, images: "ImageStore", in_force: str
) -> dg.AssetCheckResult:
    shown: dict[str, Any] = {"table_in_force": in_force}
    if len(verdict.judged):
        asked = {name: value for name, value in verdict.observed.items() if name not in verdict.judged}
        shown["counts"] = metadata.table(verdict.judged.assign(**asked).fillna(""), len(verdict.judged))
    if len(verdict.unexpected):
        shown["examples"] = metadata.beside_photos(verdict.unexpected, images, _PHOTOS)
    if verdict.page is not None:
        shown["data_docs"] = dg.MetadataValue.url(_address(pipeline, verdict.page))
        shown["data_docs_file"] = dg.MetadataValue.path(verdict.page)
    return dg.AssetCheckResult(
        passed=verdict.passed,
        asset_key=list(key),
        check_name=verdict.name,
        severity=SEVERITY[verdict.severity],
        description=verdict.in_words,
        metadata=shown,
    )


def _docs(pipeline: Pipeline, group: str) -> dg.MetadataValue:
    return dg.MetadataValue.url(f"{_address(pipeline, pipeline.data_docs(group))}/")


def _address(pipeline: Pipeline, page: Path) -> str:
    """Where `afmrl ui` serves a page of the Data Docs."""
    return f"{data_docs_ui()}/{page.relative_to(data_docs_root(Path(pipeline.home))).as_posix()}"
