"""attribute_generator of each round: distilled in round 0 (SFT), refined by retrieval afterwards (RAR)."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.defs.models.assets import BASE_GENERATOR
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.runs import log_catalog, model_run, remember_version
from afmrl_dagster.step import step
from afmrl_dagster.tables import TEACHER, Tables

if TYPE_CHECKING:
    import pandas as pd

    from afmrl_models.registry.models import ModelVersion
    from afmrl_models.registry.tracking import RunHandle


def generator_key(round_number: int) -> tuple[str, str]:
    """Key of a round's generator."""
    return (f"round_{round_number}", "attribute_generator")


def embedder_key(group: str) -> tuple[str, str]:
    """Key of the embedder of `baseline` or of a round."""
    return (group, "embedder")


def register(run: "RunHandle", directory: Path, pipeline: Pipeline, tables: Tables) -> "ModelVersion":
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
    )
    remember_version(directory, version)
    return version


def generator_params(pipeline: Pipeline, tables: Tables) -> dict[str, object]:
    """The settings that concern every generator; a refined one, too, was distilled first."""
    profile = pipeline.profile()
    return {
        "attributes.sft": profile.attributes.sft.model_dump(),
        "attributes.teacher.kind": profile.attributes.teacher.kind,
        "attributes.teacher.model": profile.attributes.teacher.model,
        "attributes.keys": tables.attribute_keys,
        "attributes.generation": profile.attributes.generation.model_dump(),
        "generator": profile.generator.model_dump(mode="json"),
        "catalog.image_size": profile.catalog.image_size,
        "seed": pipeline.seed,
    }


def log_samples(run: "RunHandle", samples: "pd.DataFrame", tables: Tables) -> None:
    """What RAR sampled: a table in MLflow with a photo a row, and the same as a page that needs no server."""
    from afmrl_models.refinement.samples_page import samples_page

    photos = samples["listing_id"].map(tables.images.get)
    run.log_table(samples.assign(photo=photos)[["photo", *samples.columns]], "rar_samples.json")
    run.log_text(samples_page(samples, tables.images, "Texts that RAR sampled"), "rar_samples.html")


@dg.asset(
    key=list(generator_key(0)),
    deps=[list(BASE_GENERATOR), list(TEACHER)],
    group_name="round_0",
    kinds={"pytorch", "trl", "mlflow"},
    description="The model that reads photo and title and writes its key attributes, distilled from "
    "the teacher's texts (SFT). Registered in MLflow as a version of `<profile>-generator`.",
)
@step
def distilled_generator(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    """Teach the generator to write what the teacher wrote for the training listings."""
    from afmrl_models.attributes.lessons import deal_lessons
    from afmrl_models.attributes.sft import train_generator

    profile, tables = pipeline.profile(), Tables(pipeline)
    key = generator_key(0)
    taught, _ = deal_lessons(tables.of("train"), profile.attributes.sft.share, pipeline.seed)
    teacher = tables.attribute_table("attributes")
    with pipeline.replacing(key) as out, model_run(context, pipeline, "/".join(key)) as run:
        run.log_params(generator_params(pipeline, tables))
        log_catalog(run, tables, "train", context="training")
        result = train_generator(
            pipeline.directory(BASE_GENERATOR),
            teacher[teacher["listing_id"].isin(taught["listing_id"])],
            taught,
            tables.images,
            tables.attribute_keys,
            profile.generator,
            profile.attributes.sft,
            out,
            seed=pipeline.seed,
            device=pipeline.device(),
            report=run.log_metrics,
            checkpoints=pipeline.scratch(key) / "checkpoint",
        )
        run.log_metrics({f"result/{name}": value for name, value in result.metrics.items()})
        version = register(run, out, pipeline, tables)
    return dg.MaterializeResult(
        metadata={
            "registered": f"{version.name} version {version.version}",
            "path": dg.MetadataValue.path(pipeline.directory(key)),
            "seconds": result.seconds,
            "curves": metadata.training_curves(result.history, "loss", "token_accuracy"),
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
        description="The generator refined by retrieval (RAR, by GRPO): it samples texts for a listing, each "
        f"rewarded with how well `{previous}/embedder` then finds the listing's other offers. Shows the "
        "reward, the share of groups without signal and the length of the texts over the steps, and sampled "
        "texts with photo, reward and advantage.",
    )
    @step
    def attribute_generator(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
        from afmrl_models.attributes.lessons import deal_lessons
        from afmrl_models.refinement.curves import reward_curves
        from afmrl_models.refinement.rar import refine_generator

        profile, tables = pipeline.profile(), Tables(pipeline)
        _, listings = deal_lessons(tables.of("train"), profile.attributes.sft.share, pipeline.seed)
        with pipeline.replacing(key) as out, model_run(context, pipeline, "/".join(key)) as run:
            run.log_params(
                {"refinement": profile.refinement.model_dump(), **generator_params(pipeline, tables)}
            )
            log_catalog(run, tables, "train", context="training")
            result = refine_generator(
                pipeline.directory(generator_key(round_number - 1)),
                pipeline.directory(embedder_key(previous)),
                listings,
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
                checkpoints=pipeline.scratch(key) / "checkpoint",
            )
            run.log_metrics({f"result/{name}": value for name, value in result.metrics.items()})
            log_samples(run, result.samples, tables)
            curves = reward_curves(result.history)
            run.log_figure(curves, "reward_curves.png")
            version = register(run, out, pipeline, tables)
        return dg.MaterializeResult(
            metadata={
                "registered": f"{version.name} version {version.version}",
                **{name: float(value) for name, value in result.metrics.items()},
                "curves": metadata.picture(curves, "reward over RAR steps"),
                "path": dg.MetadataValue.path(pipeline.directory(key)),
                "samples": metadata.beside_photos(
                    result.samples.drop(columns="prompt").tail(12), tables.images, 12
                ),
                "mlflow_run": metadata.mlflow_link(run),
            }
        )

    return attribute_generator
