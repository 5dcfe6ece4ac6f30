"""The embedder of the baseline and of each round: same start, same pairs, same steps, another loss."""

from typing import Literal

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.defs.models.assets import BASE_EMBEDDER
from afmrl_dagster.defs.rounds.generators import embedder_key
from afmrl_dagster.defs.rounds.product_attributes import attributes_key
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.runs import log_catalog, model_run, remember_version
from afmrl_dagster.step import step
from afmrl_dagster.tables import Tables


def embedder(
    group: str, loss: Literal["infonce", "agcl"], round_number: int, description: str
) -> dg.AssetsDefinition:
    """Train from models/base_embedder on the pairs with the attributes of `round_number`."""
    key = embedder_key(group)

    @dg.asset(
        key=list(key),
        deps=[list(BASE_EMBEDDER), list(attributes_key(round_number))],
        group_name=group,
        kinds={"pytorch", "huggingface", "mlflow"},
        description=description,
    )
    @step
    def asset(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
        from afmrl_models.embedding.training import train_embedder
        from afmrl_models.registry.models import log_embedder

        profile, tables = pipeline.profile(), Tables(pipeline)
        train = tables.of("train")
        with pipeline.replacing(key) as out, model_run(context, pipeline, "/".join(key), loss=loss) as run:
            run.log_params(
                {
                    "loss": loss,
                    "attributes_of": f"round_{round_number}",
                    "training": profile.training.model_dump(),
                    "embedder": profile.embedder.model_dump(mode="json"),
                    "catalog.image_size": profile.catalog.image_size,
                    "seed": pipeline.seed,
                }
            )
            dataset = log_catalog(run, tables, "train", context="training")
            result = train_embedder(
                pipeline.directory(BASE_EMBEDDER),
                train,
                tables.attribute_texts(f"round_{round_number}"),
                tables.images,
                profile.training,
                loss=loss,
                steps=profile.training.steps,
                out=out,
                seed=pipeline.seed,
                device=pipeline.device(),
                backbone=profile.embedder,
                report=run.log_metrics,
                checkpoints=pipeline.scratch(key) / "checkpoint",
            )
            version = log_embedder(run, out, profile.name, image_size=profile.catalog.image_size)
            run.log_metrics(
                {f"result/{name}": value for name, value in result.metrics.items()},
                model_id=version.model_id,
                dataset=dataset,
            )
            remember_version(out, version)
        return dg.MaterializeResult(
            metadata={
                "registered": f"{version.name} version {version.version}",
                "path": dg.MetadataValue.path(pipeline.directory(key)),
                "loss": loss,
                "steps": profile.training.steps,
                "seconds": result.seconds,
                "loss_curve": metadata.training_curves(result.history, "loss"),
                "mlflow_run": metadata.mlflow_link(run),
            }
        )

    return asset
