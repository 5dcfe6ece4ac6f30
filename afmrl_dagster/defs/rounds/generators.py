"""attribute_generator of each round: distilled in round 0 (SFT), refined by retrieval afterwards (RAR)."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.defs.models.assets import BASE_GENERATOR
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.runs import model_run, remember_version
from afmrl_dagster.step import step
from afmrl_dagster.tables import TEACHER, Tables

if TYPE_CHECKING:
    from afmrl_models.registry.models import ModelVersion
    from afmrl_models.registry.tracking import RunHandle


def generator_key(round_number: int) -> tuple[str, str]:
    """Key of a round's generator."""
    return (f"round_{round_number}", "attribute_generator")


def embedder_key(group: str) -> tuple[str, str]:
    """Key of the embedder of `baseline` or of a round."""
    return (group, "embedder")


def register(
    run: "RunHandle", directory: Path, pipeline: Pipeline, tables: Tables, round_number: int
) -> "ModelVersion":
    """Register a trained generator and note its version beside it."""
    from afmrl_models.registry.models import log_generator

    profile = pipeline.profile()
    version = log_generator(
        run,
        directory,
        profile.name,
        image_size=profile.catalog.image_size,
        keys=tables.attribute_keys,
        generation=profile.attributes.generation,
        dtype=profile.generator.dtype,
        tags={"round": f"round_{round_number}", "seed": str(pipeline.seed)},
    )
    remember_version(directory, version)
    return version


@dg.asset(
    key=list(generator_key(0)),
    deps=[list(BASE_GENERATOR), list(TEACHER)],
    group_name="round_0",
    kinds={"pytorch", "trl", "mlflow"},
    description="The attribute generator distilled from the teacher (SFT).",
)
@step
def distilled_generator(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    """Teach the generator to write what the teacher wrote for the training listings."""
    from afmrl_models.attributes.sft import train_generator

    profile, tables = pipeline.profile(), Tables(pipeline)
    key = generator_key(0)
    with pipeline.replacing(key) as out, model_run(context, pipeline, "/".join(key)) as run:
        run.log_params(
            {
                "sft": profile.attributes.sft.model_dump(),
                "teacher": profile.attributes.teacher.kind,
                "seed": pipeline.seed,
            }
        )
        result = train_generator(
            pipeline.directory(BASE_GENERATOR),
            tables.attribute_table("attributes"),
            tables.of("train"),
            tables.images,
            tables.attribute_keys,
            profile.generator,
            profile.attributes.sft,
            out,
            seed=pipeline.seed,
            device=pipeline.device(),
            report=run.log_metrics,
        )
        run.log_metrics(result.metrics)
        version = register(run, out, pipeline, tables, 0)
    return dg.MaterializeResult(
        metadata={
            "registered": f"{version.name} version {version.version}",
            "seconds": result.seconds,
            **{name: float(value) for name, value in result.metrics.items()},
            "mlflow_run": metadata.mlflow_link(run),
        }
    )


def refined_generator(round_number: int) -> dg.AssetsDefinition:
    """The generator of a later round: rewarded with the retrieval that its texts make possible."""
    previous, key = f"round_{round_number - 1}", generator_key(round_number)

    @dg.asset(
        key=list(key),
        deps=[
            list(generator_key(round_number - 1)),
            list(embedder_key(previous)),
            [previous, "product_attributes"],
        ],
        group_name=key[0],
        kinds={"pytorch", "trl", "mlflow"},
        description=f"The attribute generator refined by RAR (GRPO) against {previous}/embedder.",
    )
    @step
    def attribute_generator(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
        from afmrl_models.refinement.curves import reward_curves
        from afmrl_models.refinement.rar import refine_generator

        profile, tables = pipeline.profile(), Tables(pipeline)
        with pipeline.replacing(key) as out, model_run(context, pipeline, "/".join(key)) as run:
            run.log_params({"rar": profile.refinement.model_dump(), "seed": pipeline.seed})
            result = refine_generator(
                pipeline.directory(generator_key(round_number - 1)),
                pipeline.directory(embedder_key(previous)),
                tables.of("train"),
                tables.images,
                tables.attribute_keys,
                profile.refinement,
                out,
                seed=pipeline.seed,
                device=pipeline.device(),
                backbone=profile.generator,
                gallery_attributes=tables.attribute_texts(previous)
                if profile.evaluation.enriches_gallery
                else None,
                report=run.log_metrics,
            )
            run.log_metrics(result.metrics)
            shown = result.samples.copy()
            shown["photo"] = shown["listing_id"].map(tables.images.get)
            run.log_table(shown, "rar_samples.json")
            curves = reward_curves(result.history)
            run.log_figure(curves, "reward_curves.png")
            version = register(run, out, pipeline, tables, round_number)
        return dg.MaterializeResult(
            metadata={
                "registered": f"{version.name} version {version.version}",
                **{name: float(value) for name, value in result.metrics.items()},
                "curves": metadata.picture(curves, "reward over RAR steps"),
                "samples": metadata.table(result.samples.drop(columns="prompt").tail(12)),
                "mlflow_run": metadata.mlflow_link(run),
            }
        )

    return attribute_generator
