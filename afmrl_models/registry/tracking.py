"""Runs in MLflow: parameters, curves, datasets, figures and tables, under one experiment."""

import json
import logging
import math
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import sqlalchemy
from matplotlib.figure import Figure
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.dataset import Dataset
from mlflow.data.pandas_dataset import from_pandas
from mlflow.entities import Experiment, LifecycleStage
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from PIL import Image

from afmrl_models.errors import UserError

PARAMETER_CHARACTERS = 1000
DIGEST_CHARACTERS = 36
_PARAMETERS_A_BATCH = 100
# Which of its two faces the MLflow UI opens an experiment with.
_MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}
_METRIC_NAME = re.compile(r"[\w\-. :/]+")
_PROBE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
}


class TrackingError(UserError):
    """The tracking store cannot be used, or was given what it cannot hold; the message names the place."""


@dataclass(frozen=True)
class RunHandle:
    """One MLflow run that is under way."""

    tracking: "Tracking"
    run_id: str
    experiment_id: str
    tags: Mapping[str, str] = field(default_factory=dict)

    def url(self, base_ui_url: str) -> str:
        """The run's page in an MLflow UI served at `base_ui_url`."""
        return f"{base_ui_url.rstrip('/')}/#/experiments/{self.experiment_id}/runs/{self.run_id}"

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters; nested mappings get dotted names, lists are JSON, long values are cut."""
        flat = list(flatten(params).items())
        for start in range(0, len(flat), _PARAMETERS_A_BATCH):
            mlflow.log_params(dict(flat[start : start + _PARAMETERS_A_BATCH]), run_id=self.run_id)

    def log_metrics(
        self,
        metrics: Mapping[str, float],
        step: int | None = None,
        model_id: str | None = None,
        dataset: Dataset | None = None,
    ) -> None:
        """Log metrics, linked to a logged model and a dataset where they are given.

        Raises TrackingError for a name MLflow cannot hold (such as one with '@'), a value that is no
        number, and an infinite one, which the store would replace by another number.
        """
        for name, value in metrics.items():
            if not _METRIC_NAME.fullmatch(name):
                raise TrackingError(
                    f"metric {name!r}: a name holds letters, digits, '_', '-', '.', ' ', ':', '/' only"
                )
            if isinstance(value, bool) or not hasattr(value, "__float__") or math.isinf(value):
                raise TrackingError(f"metric {name!r}: {value!r} is not a finite number")
        mlflow.log_metrics(
            {name: float(value) for name, value in metrics.items()},
            step=step,
            run_id=self.run_id,
            model_id=model_id,
            dataset=dataset,
        )

    def log_dataset(self, frame: pd.DataFrame, name: str, digest: str, context: str) -> Dataset:
        """Record the table the run used under its own digest; returns it for `log_metrics(dataset=)`.

        Columns of mappings are left out of the recorded schema. MLflow keeps 36 characters of a digest.
        """
        plain = frame[[c for c in frame if not any(isinstance(value, dict) for value in frame[c])]]
        with warnings.catch_warnings():
            # Advice on schemas of models; this one only describes a table.
            warnings.simplefilter("ignore", UserWarning)
            dataset = from_pandas(
                plain, source=CodeDatasetSource({}), name=name, digest=digest[:DIGEST_CHARACTERS]
            )
            try:
                mlflow.log_input(dataset, context=context)
            except MlflowException:
                # Another process may have been faster with the same table: then it is found now.
                mlflow.log_input(dataset, context=context)
        return dataset

    def log_figure(self, figure: Figure, artifact_file: str) -> None:
        """Log a matplotlib figure under a name such as `plots/rewards.png`."""
        self.tracking.client.log_figure(self.run_id, figure, artifact_file)

    def log_image(self, image: Image.Image, artifact_file: str) -> None:
        """Log a picture under a name such as `contact_sheet.png`."""
        self.tracking.client.log_image(self.run_id, image, artifact_file)

    def log_text(self, text: str, artifact_file: str) -> None:
        """Log a text, such as a page, under a name such as `samples.html`."""
        self.tracking.client.log_text(self.run_id, text, artifact_file)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Log a file, or a directory with everything in it."""
        log = self.tracking.client.log_artifacts if path.is_dir() else self.tracking.client.log_artifact
        log(self.run_id, str(path), folder)

    def log_table(self, frame: pd.DataFrame, artifact_file: str) -> None:
        """Log a table (.json) for MLflow's table view; a column of PIL images is shown as pictures."""
        # A copy, for MLflow puts the pictures' addresses in place of the pictures.
        self.tracking.client.log_table(self.run_id, frame.copy(), artifact_file)


class Tracking:
    """The record of one experiment.

    Args:
        uri: any MLflow tracking URI; None: sqlite at `home`/mlflow.db.
        home: where the database and, for database URIs, the artifacts are kept.
        experiment: the profile's name.
    """

    def __init__(self, uri: str | None, home: Path, experiment: str) -> None:
        self.home = home.resolve()
        self.uri = uri or f"sqlite:///{self.home / 'mlflow.db'}"
        self.experiment = experiment

    @cached_property
    def client(self) -> MlflowClient:
        """A client of this store. Raises TrackingError, within seconds, where it cannot be used."""
        self._probe_database()
        try:
            return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        except MlflowException as error:
            raise self._unusable(error) from error

    def activate(self) -> None:
        """Make this store the one that mlflow's global functions use."""
        if mlflow.get_tracking_uri() != self.uri:
            mlflow.set_tracking_uri(self.uri)
        if mlflow.get_registry_uri() != self.uri:
            mlflow.set_registry_uri(self.uri)

    def experiment_id(self) -> str:
        """The experiment's id; the experiment is created on first use.

        Raises TrackingError, within seconds, where the store cannot be reached or the experiment was deleted.
        """
        client = self.client
        self.activate()
        with _environment(_PROBE):
            try:
                found = client.get_experiment_by_name(self.experiment) or self._create_experiment()
            except MlflowException as error:
                raise self._unusable(error) from error
        if found.lifecycle_stage != LifecycleStage.ACTIVE:
            raise TrackingError(
                f"{self.shown_uri}: the experiment {self.experiment!r} was deleted; restore it with "
                f"`mlflow experiments restore --experiment-id {found.experiment_id}`"
            )
        return found.experiment_id

    @contextmanager
    def run(self, name: str, *, tags: Mapping[str, Any]) -> Iterator[RunHandle]:
        """Open a run; it ends FINISHED, or FAILED where the body raises.

        Raises TrackingError where the store cannot be reached.
        """
        experiment_id = self.experiment_id()
        as_text = {key: str(value) for key, value in tags.items() if value is not None}
        with mlflow.start_run(experiment_id=experiment_id, run_name=name, tags=as_text) as run:
            yield RunHandle(self, run.info.run_id, experiment_id, as_text)

    def end_abandoned(self, tags: Mapping[str, str], is_over: Callable[[Mapping[str, str]], bool]) -> None:
        """End RUNNING runs with these tags as KILLED where `is_over`, asked with a run's tags, is true.

        A process that is killed, or cannot reach the store, leaves its run so.
        """
        wanted = ["attributes.status = 'RUNNING'", *(f"tags.`{k}` = '{v}'" for k, v in tags.items())]
        experiment_id = self.experiment_id()
        for run in self.client.search_runs([experiment_id], " and ".join(wanted)):
            if is_over(run.data.tags):
                self.client.set_terminated(run.info.run_id, "KILLED")

    @property
    def shown_uri(self) -> str:
        """The URI without a password, for messages."""
        return re.sub(r"(?<=://)([^:/@]*):[^@/]*@", r"\1:***@", self.uri)

    def _unusable(self, error: Exception) -> TrackingError:
        return TrackingError(f"{self.shown_uri}: the tracking store cannot be used: {_root(error)}")

    def _create_experiment(self) -> Experiment:
        served = self.uri.startswith(("http://", "https://", "databricks"))
        location = None if served else (self.home / "mlartifacts" / self.experiment).as_uri()
        try:
            return self.client.get_experiment(
                self.client.create_experiment(self.experiment, location, _MODEL_TRAINING)
            )
        except MlflowException as error:
            # Another process may have been faster.
            if created := self.client.get_experiment_by_name(self.experiment):
                return created
            raise error

    def _probe_database(self) -> None:
        # MLflow retries an unreachable database for minutes; one look at it first answers at once.
        if self.uri.partition("://")[0].partition("+")[0] not in {"sqlite", "postgresql", "mysql", "mssql"}:
            return
        try:
            address = sqlalchemy.make_url(self.uri)
            if address.get_backend_name() == "sqlite":
                Path(address.database or "").parent.mkdir(parents=True, exist_ok=True)
                engine = sqlalchemy.create_engine(address)
            else:
                engine = sqlalchemy.create_engine(address, connect_args=_connect_timeout(address))
            sqlalchemy.inspect(engine).get_table_names()
            engine.dispose()
        except (sqlalchemy.exc.SQLAlchemyError, OSError, ImportError) as error:
            raise self._unusable(error) from error


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted names with text values of at most PARAMETER_CHARACTERS."""
    flat: dict[str, str] = {}
    for key, value in params.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{name}.")
            continue
        is_container = isinstance(value, list | tuple | Mapping)
        text = json.dumps(value, default=str, ensure_ascii=False) if is_container else str(value)
        if len(text) > PARAMETER_CHARACTERS:
            mark = f" … (cut: {len(text)} characters)"
            text = text[: PARAMETER_CHARACTERS - len(mark)] + mark
        flat[name] = text
    return flat


def _root(error: BaseException) -> BaseException:
    """The operating system's word on it, such as "Connection refused", where there is one; else the error."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno is not None:
            return found
        found = found.__cause__ or found.__context__
    return error


def _connect_timeout(address: sqlalchemy.URL) -> dict[str, int]:
    return {"timeout" if address.get_backend_name() == "mssql" else "connect_timeout": 5}


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# One line for every migration of a new database helps nobody.
logging.getLogger("alembic").setLevel(logging.WARNING)
