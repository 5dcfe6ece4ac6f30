"""cross_fitted_attributes: training texts by generators that have not seen the product."""

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.attribute_tables import ATTRIBUTES
from afmrl_dagster.defs.models.assets import BASE_GENERATOR
from afmrl_dagster.defs.rounds.generators import generator_params
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.runs import log_catalog, model_run
from afmrl_dagster.step import step
from afmrl_dagster.tables import TEACHER, Tables

CROSS_FITTED = ("round_0", "cross_fitted_attributes")


@dg.asset(
    key=list(CROSS_FITTED),
    deps=[list(BASE_GENERATOR), list(TEACHER)],
    group_name=CROSS_FITTED[0],
    kinds={"pytorch", "trl", "parquet"},
    description="Attributes of the training listings, each written by a generator that was distilled on "
    "other products alone (attributes.sft.folds), and so as often wrong as those of unseen products. The "
    "embedders learn from them how far to trust a text.",
)
@step
def cross_fitted_attributes(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    """Distil a generator outside each fold, and write the fold's texts with it."""
    from afmrl_models.attributes.agreement import agreement
    from afmrl_models.attributes.cross_fitting import CrossFitter
    from afmrl_models.catalog.learned_from import LearnedFrom
    from afmrl_models.catalog.schema import PRODUCT_ATTRIBUTES, write_table

    profile, tables = pipeline.profile(), Tables(pipeline)
    train, teacher = tables.of("train"), tables.attribute_table("attributes")
    seen = LearnedFrom()
    with (
        pipeline.replacing(CROSS_FITTED) as out,
        model_run(context, pipeline, "/".join(CROSS_FITTED)) as run,
    ):
        run.log_params(generator_params(pipeline, tables))
        log_catalog(run, tables, "train", context="training")
        fitter = CrossFitter(
            base=pipeline.directory(BASE_GENERATOR),
            keys=tables.attribute_keys,
            backbone=profile.generator,
            sft=profile.attributes.sft,
            generation=profile.attributes.generation,
            seed=pipeline.seed,
            device=pipeline.device(),
            kept=pipeline.scratch(CROSS_FITTED),
            report=run.log_metrics,
        )
        frame = fitter.write(teacher, train, tables.images, seen)
        agreed = agreement(frame, teacher, tables.attribute_keys)
        accuracy = agreed.dropna(subset="accuracy").set_index("key")["accuracy"]
        run.log_metrics({f"result/accuracy/{key}": float(value) for key, value in accuracy.items()})
        write_table(frame, PRODUCT_ATTRIBUTES, out / ATTRIBUTES)
        seen.save(out)
    return dg.MaterializeResult(
        metadata={
            **metadata.stored_table(pipeline.directory(CROSS_FITTED) / ATTRIBUTES),
            "valid_share": float(frame["valid"].mean()),
            "agreement_with_the_teacher": metadata.table(agreed),
            "mlflow_run": metadata.mlflow_link(run),
            "examples": metadata.texts_beside_photos(frame, train, tables.images),
        }
    )
