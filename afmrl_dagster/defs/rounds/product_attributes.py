"""product_attributes of each round: written as a candidate, which its expectations accept or refuse."""

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.attribute_tables import ATTRIBUTES, AttributeTables
from afmrl_dagster.defs.rounds.cross_fitted import CROSS_FITTED
from afmrl_dagster.defs.rounds.generators import generator_key
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.runs import recall_version
from afmrl_dagster.step import step
from afmrl_dagster.tables import Tables

_ACCEPTED = (
    " The table waits as a candidate until its expectations accept it; a refused one leaves the last "
    "accepted table in force."
)
_DISTILLED = (
    "Attributes of the training listings and of the held-out queries, written by the distilled generator."
    + _ACCEPTED
)
_CROSS_FITTED = (
    "Attributes of the held-out queries, written by the distilled generator, and of the training listings, "
    "by generators that had not seen them." + _ACCEPTED
)
_REFINED = (
    "Attributes written anew by the refined generator: of all queries, and of the share of the training "
    "listings that CIT rewrites; the others keep their text." + _ACCEPTED
)


def attributes_key(round_number: int) -> tuple[str, str]:
    """Key of a round's attribute table."""
    return (f"round_{round_number}", "product_attributes")


def product_attributes(round_number: int, cross_fitted: bool = False) -> dg.AssetsDefinition:
    """Attributes of the training listings and of the held-out queries, by the round's generator.

    What follows reads the accepted table, which a refused candidate leaves in force. cross_fitted: the
    training listings' texts of round 0 are taken from cross_fitted_attributes.
    """
    key = attributes_key(round_number)
    deps = [list(generator_key(round_number))]
    if round_number:
        deps.append(list(attributes_key(round_number - 1)))
    elif cross_fitted:
        deps.append(list(CROSS_FITTED))

    @dg.asset(
        key=list(key),
        deps=deps,
        group_name=key[0],
        kinds={"pytorch", "parquet"},
        description=_REFINED if round_number else _CROSS_FITTED if cross_fitted else _DISTILLED,
    )
    @step
    def asset(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
        from time import perf_counter

        import pandas as pd

        from afmrl_models.attributes.agreement import agreement
        from afmrl_models.attributes.generator import AttributeGenerator
        from afmrl_models.attributes.writing import write_attributes
        from afmrl_models.catalog.changes import compare_tables
        from afmrl_models.catalog.schema import PRODUCT_ATTRIBUTES, read_table, write_table
        from afmrl_models.refinement.cit import listings_to_rewrite, merge_attributes

        started = perf_counter()
        profile, tables = pipeline.profile(), Tables(pipeline)
        train = tables.of("train")
        held_out = tables.of(
            "validation", "test", role=None if "both" in profile.evaluation.enrich else "query"
        )
        if round_number:
            rewritten = listings_to_rewrite(
                list(train["listing_id"]), profile.refinement.cit_share, pipeline.seed + round_number
            )
            train = train[train["listing_id"].isin(set(rewritten))]
        elif cross_fitted:
            train = train[:0]
        wanted = pd.concat([train, held_out], ignore_index=True)
        directory = pipeline.directory(generator_key(round_number))
        generator = AttributeGenerator.load(directory, pipeline.device())
        version = recall_version(directory)
        frame = write_attributes(
            generator,
            wanted,
            tables.images,
            tables.attribute_keys,
            profile.attributes.generation,
            version=f"{version.name}/{version.version}",
            out=pipeline.scratch(key) / ATTRIBUTES,
            progress=True,
        )
        written = frame
        if round_number:
            frame = merge_attributes(tables.attribute_table(f"round_{round_number - 1}"), frame)
        elif cross_fitted:
            texts = read_table(pipeline.made(CROSS_FITTED) / ATTRIBUTES)
            frame = pd.concat([texts, frame], ignore_index=True)
        versions = AttributeTables(pipeline, key[0])
        before = versions.in_force()
        with versions.writing() as out:
            write_table(frame, PRODUCT_ATTRIBUTES, out / ATTRIBUTES)
        changes = compare_tables(
            versions.directory / ATTRIBUTES,
            versions.candidate / ATTRIBUTES,
            ["content_hash", "generator_version"],
        )
        unseen = agreement(written, held_out, tables.attribute_keys)
        return dg.MaterializeResult(
            metadata={
                **metadata.stored_table(versions.candidate / ATTRIBUTES, versions.directory / ATTRIBUTES),
                **metadata.changes(changes, perf_counter() - started),
                "candidate": dg.MetadataValue.path(versions.candidate),
                "in_force_until_the_checks_accept_the_candidate": before,
                "written_in_this_round": len(written),
                "valid_share": float(written["valid"].mean()),
                "mean_characters": float(written["attributes_text"].str.len().mean()),
                "agreement_with_sellers_on_unseen_products": metadata.table(unseen),
                "examples": metadata.texts_beside_photos(written.tail(12), wanted, tables.images),
            }
        )

    return asset
