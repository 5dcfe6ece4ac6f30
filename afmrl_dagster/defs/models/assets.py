"""The starting weights: a hub model, or a small random-weight one built and warmed up here."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.runs import log_catalog, model_run
from afmrl_dagster.step import step
from afmrl_dagster.tables import SPLITS, Tables

if TYPE_CHECKING:
    from afmrl_models.catalog.learned_from import LearnedFrom

BASE_EMBEDDER = ("models", "base_embedder")
BASE_GENERATOR = ("models", "base_generator")


def training_texts(tables: Tables, seen: "LearnedFrom") -> Iterator[str]:
    """What a tokenizer may see: titles, stated attributes and prompts of the training split alone.

    A listing is noted in `seen` when its texts are read.
    """
    from afmrl_models.attributes.grammar import clean, render
    from afmrl_models.attributes.prompt import prompt_text

    keys = tables.attribute_keys
    train = tables.of("train")
    columns = (train[name].tolist() for name in ("listing_id", "title", "attributes"))
    for listing_id, title, attributes in zip(*columns, strict=True):
        seen.note("tokenizer", listing_id)
        yield title
        yield prompt_text(title, keys)
        stated = clean(attributes or {})
        if stated:
            yield render(stated)


@dg.asset(
    key=list(BASE_EMBEDDER),
    deps=[list(SPLITS)],
    group_name="models",
    kinds={"pytorch", "huggingface", "mlflow"},
    description="Where every embedder starts: a pretrained Qwen2-VL, or a small one with random weights that "
    "is warmed up here with plain InfoNCE. Baseline and rounds all continue from these very weights.",
)
@step
def base_embedder(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    """Resolve the backbone; warm it up when its weights are random."""
    from afmrl_models.backbones.resolve import resolve
    from afmrl_models.catalog.learned_from import LearnedFrom
    from afmrl_models.embedding.embedder import new_embedder
    from afmrl_models.embedding.training import train_embedder

    profile, tables, seen = pipeline.profile(), Tables(pipeline), LearnedFrom()
    with (
        pipeline.replacing(BASE_EMBEDDER) as out,
        model_run(context, pipeline, "models/base_embedder") as run,
    ):
        backbone = resolve(
            profile.embedder,
            "embedder",
            texts=training_texts(tables, seen),
            image_size=profile.embedder.image_size or profile.catalog.image_size,
            out=pipeline.scratch(BASE_EMBEDDER) / "backbone",
            seed=pipeline.seed,
        )
        run.log_params(
            {
                "embedder": profile.embedder.model_dump(mode="json"),
                "training": profile.training.model_dump(),
                "catalog.image_size": profile.catalog.image_size,
                "seed": pipeline.seed,
            }
        )
        log_catalog(run, tables, "train", context="training")
        curves = {}
        warm_up = profile.training.warmup_steps if profile.embedder.pretrained is None else 0
        if warm_up:
            result = train_embedder(
                backbone,
                tables.of("train"),
                {},
                tables.images,
                # Random weights do not know look-alikes, and there are no attributes yet.
                profile.training.model_copy(update={"neighbours": 1}),
                loss="infonce",
                steps=warm_up,
                out=out,
                seed=pipeline.seed,
                device=pipeline.device(),
                backbone=profile.embedder,
                report=run.log_metrics,
                checkpoints=pipeline.scratch(BASE_EMBEDDER) / "checkpoint",
            )
            run.log_metrics({f"result/{name}": value for name, value in result.metrics.items()})
            curves["loss_curve"] = metadata.training_curves(result.history, "loss")
        else:
            new_embedder(backbone, profile.embedder, device="cpu").save_pretrained(
                str(out), create_model_card=False
            )
        seen.save(out)
    return dg.MaterializeResult(
        metadata={
            "pretrained": profile.embedder.pretrained or "none: random weights",
            "warm_up_steps": warm_up,
            **curves,
            "path": dg.MetadataValue.path(str(pipeline.directory(BASE_EMBEDDER))),
            "mlflow_run": metadata.mlflow_link(run),
        }
    )


@dg.asset(
    key=list(BASE_GENERATOR),
    deps=[list(SPLITS)],
    group_name="models",
    kinds={"pytorch", "huggingface"},
    description="Where the attribute generator starts: a pretrained Qwen2.5-VL, or a small one with random "
    "weights built here, whose tokenizer has seen the training split alone.",
)
@step
def base_generator(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    """Resolve the backbone."""
    import shutil

    from afmrl_models.backbones.resolve import resolve
    from afmrl_models.catalog.learned_from import LearnedFrom

    profile, tables, seen = pipeline.profile(), Tables(pipeline), LearnedFrom()
    with pipeline.replacing(BASE_GENERATOR) as out:
        resolved: Path = resolve(
            profile.generator,
            "generator",
            texts=training_texts(tables, seen),
            image_size=profile.generator.image_size or profile.catalog.image_size,
            out=out,
            seed=pipeline.seed,
        )
        if resolved != out:
            shutil.copytree(resolved, out, dirs_exist_ok=True)
        seen.save(out)
    return dg.MaterializeResult(
        metadata={
            "pretrained": profile.generator.pretrained or "none: random weights",
            "path": dg.MetadataValue.path(str(pipeline.directory(BASE_GENERATOR))),
        }
    )
