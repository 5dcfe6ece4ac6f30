"""What the teacher says of the training listings: the generator is distilled from it."""

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.step import step
from afmrl_dagster.tables import SPLITS, TEACHER, Tables


@dg.asset(
    key=list(TEACHER),
    deps=[list(SPLITS)],
    group_name="attributes",
    kinds={"python", "parquet"},
    description="Key attributes of the training listings, by the profile's teacher.",
)
@step
def teacher_attributes(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    """Ask the teacher for every training listing."""
    from afmrl_models.attributes.teachers import open_teacher
    from afmrl_models.catalog.learned_from import LearnedFrom
    from afmrl_models.catalog.schema import PRODUCT_ATTRIBUTES, write_table

    profile, tables = pipeline.profile(), Tables(pipeline)
    teacher = open_teacher(profile.attributes.teacher, tables.attribute_keys, pipeline.device())
    train = tables.of("train")
    kept = pipeline.scratch(TEACHER) / "answers"
    frame = teacher.write(train, tables.images, progress=True, kept=kept)
    seen = LearnedFrom()
    seen.note("teacher", *frame["listing_id"])
    with pipeline.replacing(TEACHER) as out:
        write_table(frame, PRODUCT_ATTRIBUTES, out / "attributes.parquet")
        seen.save(out)
    shown = frame.merge(train[["listing_id", "title"]], on="listing_id")[
        ["title", "attributes_text", "valid"]
    ]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(frame),
            "dagster/column_schema": metadata.column_schema(PRODUCT_ATTRIBUTES),
            "valid_share": float(frame["valid"].mean()),
            "keys": tables.attribute_keys,
            "examples": metadata.table(shown, 12),
        }
    )
