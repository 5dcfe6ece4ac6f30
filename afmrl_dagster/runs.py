"""One MLflow run for each trained model and each evaluation, tied to the Dagster run that made it."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Literal

import dagster as dg

from afmrl_dagster.project import project_root
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.tables import Tables

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.data.dataset import Dataset

    from afmrl_models.registry.models import ModelVersion
    from afmrl_models.registry.tracking import RunHandle


@contextmanager
def model_run(
    context: dg.AssetExecutionContext, pipeline: Pipeline, name: str, **tags: object
) -> Iterator["RunHandle"]:
    """An MLflow run whose name says round, kind and seed, such as `round_1/embedder · seed 0`.

    Its tags, which a version registered in it gets, too: the Dagster run and asset, git revision, profile and
    its digest, settings given to this run alone, round, kind, seed and catalog digest, and `tags`.
    """
    profile, (first, _, last) = pipeline.profile(), name.partition("/")
    about = {
        "dagster.run_id": context.run_id,
        "dagster.asset": context.asset_key.to_user_string(),
        "git.revision": git_revision(),
        "profile": profile.name,
        "profile.digest": profile.digest(),
        "settings.given": json.dumps(dict(pipeline.given)) if pipeline.given else None,
        "round": first,
        "kind": last,
        "seed": pipeline.run_seed,
        "catalog.digest": Tables(pipeline).catalog_digest(),
        **tags,
    }
    of_round = [] if about["round"] == first else [str(about["round"])]
    of_seed = [] if pipeline.run_seed is None else [f"seed {pipeline.run_seed}"]
    tracking = pipeline.tracking()
    tracking.end_abandoned({"dagster.asset": str(about["dagster.asset"])}, partial(_is_over, context))
    with tracking.run(" · ".join([name, *of_round, *of_seed]), tags=about) as run:
        yield run


def _is_over(context: dg.AssetExecutionContext, tags: Mapping[str, str]) -> bool:
    """Whether the step that opened an MLflow run has ended: its Dagster run has, or this is its next try."""
    run_id = tags.get("dagster.run_id", "")
    if run_id == context.run_id:
        return context.retry_number > 0
    run = context.instance.get_run_by_id(run_id)
    return run is not None and run.is_finished


def log_catalog(
    run: "RunHandle", tables: Tables, *splits: str, context: Literal["training", "evaluation"]
) -> "Dataset":
    """Record the splits a run used, under the catalog's digest; for `run.log_metrics(dataset=)`."""
    return run.log_dataset(
        tables.of(*splits),
        name=f"{tables.pipeline.profile().name}-{'-'.join(splits)}",
        digest=tables.catalog_digest(),
        context=context,
    )


def git_revision() -> str:
    """The commit of the checkout, `+` behind it when files differ; `unknown` outside a checkout."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
        cwd=project_root(),
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"


def remember_version(directory: "Path", version: "ModelVersion") -> None:
    """Note beside a model which registered version it is."""
    (directory / "registered.json").write_text(json.dumps(asdict(version)), encoding="utf-8")


def recall_version(directory: "Path") -> "ModelVersion":
    """The registered version of a model that `remember_version` noted."""
    from afmrl_models.registry.models import ModelVersion

    return ModelVersion(**json.loads((directory / "registered.json").read_text(encoding="utf-8")))
