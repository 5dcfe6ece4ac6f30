"""One MLflow run for each trained model and each evaluation, tied to the Dagster run that made it."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import dagster as dg

from afmrl_dagster.project import project_root
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.tables import Tables

if TYPE_CHECKING:
    from pathlib import Path

    from afmrl_models.registry.models import ModelVersion
    from afmrl_models.registry.tracking import RunHandle


@contextmanager
def model_run(
    context: dg.AssetExecutionContext, pipeline: Pipeline, name: str, **tags: object
) -> Iterator["RunHandle"]:
    """An MLflow run tagged with the Dagster run, git revision, profile, round, seed and catalog digest."""
    tables = Tables(pipeline)
    digest = tables.catalog_digest()
    with pipeline.tracking().run(
        name,
        tags={
            "dagster.run_id": context.run_id,
            "dagster.asset": name,
            "git.revision": git_revision(),
            "profile": pipeline.profile().name,
            "round": name.split("/")[0],
            "seed": pipeline.run_seed,
            "catalog.digest": digest,
            **tags,
        },
    ) as run:
        yield run


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
