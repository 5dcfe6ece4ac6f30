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
    description="What the teacher says of each training listing: its key attributes, as one line of "
    "`key: value` pairs. The teacher is what sellers state, a large model on this machine, or one behind an "
    "endpoint; the generator is distilled from these texts.",
)
@step
def teacher_attributes(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    """Ask the teacher for every training listing."""
    from afmrl_models.attributes.teachers import open_teacher
    from afmrl_models.catalog.learned_from import LearnedFrom
    from afmrl_models.catalog.schema import PRODUCT_ATTRIBUTES, write_table

    profile, tables = pipeline.profile(), Tables(pipeline)
    config = profile.attributes.teacher
    # An endpoint's teacher computes elsewhere, and may take hours: the GPU stays free meanwhile.
    device = pipeline.device() if config.kind == "transformers" else "cpu"
    teacher = open_teacher(config, tables.attribute_keys, device)
    train = tables.of("train")
    kept = pipeline.scratch(TEACHER) / "answers"
    frame = teacher.write(train, tables.images, progress=True, kept=kept)
    seen = LearnedFrom()
    seen.note("teacher", *frame["listing_id"])
    with pipeline.replacing(TEACHER) as out:
        write_table(frame, PRODUCT_ATTRIBUTES, out / "attributes.parquet")
        seen.save(out)
    return dg.MaterializeResult(
        metadata={
            **metadata.stored_table(pipeline.directory(TEACHER) / "attributes.parquet"),
            "valid_share": float(frame["valid"].mean()),
            "keys": tables.attribute_keys,
            "examples": metadata.texts_beside_photos(frame, train, tables.images),
        }
    )
