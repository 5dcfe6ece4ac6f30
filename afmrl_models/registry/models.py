"""Registered versions of `<profile>-embedder` and `<profile>-generator`, their aliases and directories."""

import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Literal

import mlflow
import mlflow.artifacts
from mlflow.entities import model_registry as registered
from mlflow.exceptions import MlflowException
from mlflow.models.signature import ModelSignature
from mlflow.pyfunc import log_model
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.utils.file_utils import local_file_uri_to_path
from numpy import dtype

import afmrl_models
from afmrl_models.backbones.checkpoint import checkpoint_digest
from afmrl_models.config import GenerationConfig
from afmrl_models.registry.packaging import RegistryError, package
from afmrl_models.registry.tracking import RunHandle, Tracking

__all__ = [
    "ModelVersion",
    "RegistryError",
    "find_version",
    "get_alias",
    "local_directory",
    "log_embedder",
    "log_generator",
    "remove_alias",
    "set_alias",
]

DIGEST = "afmrl.digest"  # a version's tag: `checkpoint_digest` of its files
Role = Literal["embedder", "generator"]
_ENTRY: dict[Role, str] = {"embedder": "modules.json", "generator": "config.json"}
_REQUIREMENTS = (
    "mlflow",
    "numpy",
    "pandas",
    "peft",
    "pillow",
    "pyarrow",
    "pydantic",
    "pyyaml",
    "sentence-transformers",
    "simplejpeg",
    "torch",
    "tqdm",
    "transformers",
)
_MODELS_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>[^/@]+))")


@dataclass(frozen=True)
class ModelVersion:
    """One registered version; `model_id` is what metrics are linked to."""

    name: str
    version: int
    model_id: str
    uri: str


def log_embedder(
    run: RunHandle,
    directory: Path,
    profile: str,
    *,
    image_size: int,
    metadata: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> ModelVersion:
    """Register a directory that `SentenceTransformer(path)` loads as a new version of `<profile>-embedder`.

    The version is a pyfunc: a frame of image_path, title and attributes (text or null) → float32 (N, D). It
    is tagged as its run is, and with `tags`; the run's parameters are its own.
    image_size: edge of the square that photos are fitted into. Raises RegistryError naming the directory.
    """
    signature = ModelSignature(
        inputs=Schema(
            [
                ColSpec(DataType.string, "image_path"),
                ColSpec(DataType.string, "title"),
                ColSpec(DataType.string, "attributes", required=False),
            ]
        ),
        outputs=Schema([TensorSpec(dtype("float32"), (-1, -1))]),
        params=ParamSchema(
            [
                ParamSpec("modality", DataType.string, "multimodal"),
                ParamSpec("batch_size", DataType.long, 64),
            ]
        ),
    )
    settings = {"role": "embedder", "image_size": image_size}
    return _log(run, directory, profile, "embedder", settings, signature, metadata, tags)


def log_generator(
    run: RunHandle,
    directory: Path,
    profile: str,
    *,
    image_size: int,
    keys: Sequence[str],
    generation: GenerationConfig,
    dtype: str = "float32",
    metadata: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> ModelVersion:
    """Register a directory that transformers loads as a new version of `<profile>-generator`.

    The version is a pyfunc: a frame of image_path and title → one attribute text a row. keys: those the
    prompt asks for. Raises RegistryError naming the directory.
    """
    signature = ModelSignature(
        inputs=Schema([ColSpec(DataType.string, "image_path"), ColSpec(DataType.string, "title")]),
        outputs=Schema([ColSpec(DataType.string)]),
    )
    settings = {
        "role": "generator",
        "image_size": image_size,
        "keys": list(keys),
        "generation": generation.model_dump(),
        "dtype": dtype,
    }
    return _log(run, directory, profile, "generator", settings, signature, metadata, tags)


def set_alias(tracking: Tracking, name: str, alias: str, version: int) -> None:
    """Point an alias such as `champion` at a version. Raises RegistryError naming model and version."""
    try:
        tracking.client.set_registered_model_alias(name, alias, str(version))
    except MlflowException as error:
        raise RegistryError(f"models:/{name}/{version}: cannot become {alias!r}: {error}") from error


def get_alias(tracking: Tracking, name: str, alias: str) -> ModelVersion | None:
    """The version an alias points at; None where the model or the alias does not exist yet."""
    try:
        found = tracking.client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise RegistryError(f"models:/{name}@{alias}: cannot be looked up: {error}") from error
    return ModelVersion(name, int(found.version), _model_id(found), f"models:/{name}/{found.version}")


def remove_alias(tracking: Tracking, name: str, alias: str) -> None:
    """Take an alias away; nothing happens where it is not there."""
    if get_alias(tracking, name, alias) is not None:
        tracking.client.delete_registered_model_alias(name, alias)


def find_version(tracking: Tracking, name: str, number: str) -> ModelVersion:
    """The version with this number. Raises RegistryError where there is none."""
    try:
        found = tracking.client.get_model_version(name, number)
    except MlflowException as error:
        raise RegistryError(f"models:/{name}/{number}: no such version") from error
    return ModelVersion(name, int(found.version), _model_id(found), f"models:/{name}/{found.version}")


def local_directory(tracking: Tracking, uri_or_path: str | Path) -> Path:
    """The directory that SentenceTransformer or transformers loads.

    uri_or_path: `models:/name@champion`, `models:/name/3`, or a directory. Versions kept on another machine
    are downloaded once, under the tracking's home. Raises RegistryError naming the URI or path.
    """
    given = str(uri_or_path)
    if not given.startswith("models:"):
        directory = Path(given)
        if not any((directory / entry).is_file() for entry in _ENTRY.values()):
            raise RegistryError(f"{given}: no model directory (neither modules.json nor config.json in it)")
        return directory
    parts = _MODELS_URI.fullmatch(given)
    if parts is None:
        raise RegistryError(f"{given}: not of the form models:/name@alias or models:/name/version")
    tracking.activate()
    name, number = parts["name"], parts["version"]
    if parts["alias"]:
        aliased = get_alias(tracking, name, parts["alias"])
        if aliased is None:
            raise RegistryError(f"{given}: no such model, or no version has this alias")
        number = str(aliased.version)
    try:
        directory = _fetch(tracking, name, number) / "artifacts" / "model"
    except (MlflowException, OSError) as error:
        raise RegistryError(f"{given}: cannot be fetched from {tracking.shown_uri}: {error}") from error
    if not directory.is_dir():
        raise RegistryError(f"{given}: is no model that this project registered: it holds no {directory}")
    return directory


def _fetch(tracking: Tracking, name: str, number: str) -> Path:
    model_id = _model_id(tracking.client.get_model_version(name, number))
    stored = tracking.client.get_logged_model(model_id).artifact_location
    if stored.startswith(("/", "file:")):
        return Path(local_file_uri_to_path(stored))
    kept = tracking.home / "downloads" / model_id
    if not kept.is_dir():
        partial = kept.with_name(f".{kept.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        fetched = mlflow.artifacts.download_artifacts(f"models:/{name}/{number}", dst_path=str(partial))
        Path(fetched).rename(kept)
        shutil.rmtree(partial, ignore_errors=True)
    return kept


def _model_id(found: registered.ModelVersion) -> str:
    # sqlite leaves model_id empty and keeps it in the source, models:/<model id>.
    model_id = found.model_id or (found.source or "").removeprefix("models:/")
    if not model_id.startswith("m-"):
        raise RegistryError(f"models:/{found.name}/{found.version}: was not registered with a logged model")
    return model_id


def _log(
    run: RunHandle,
    directory: Path,
    profile: str,
    role: Role,
    settings: Mapping[str, Any],
    signature: ModelSignature,
    metadata: Mapping[str, Any] | None,
    tags: Mapping[str, str] | None,
) -> ModelVersion:
    name, tags = f"{profile}-{role}", {**run.tags, **(tags or {})}
    active = mlflow.active_run()
    if active is None or active.info.run_id != run.run_id:
        raise RegistryError(f"{name}: a version is registered while its run is open")
    with package(directory, _ENTRY[role], settings, run.tracking.home) as staged:
        digest = checkpoint_digest(staged)
        try:
            with warnings.catch_warnings():
                # The signature is given; an example would have to be embedded at each registration.
                warnings.filterwarnings("ignore", message=".*input example was not provided")
                logged = log_model(
                    name=role,
                    python_model=str(Path(__file__).with_name(f"pyfunc_{role}.py")),
                    artifacts={"model": str(staged)},
                    code_paths=[str(Path(afmrl_models.__file__).parent)],
                    signature=signature,
                    # Given: inferring them would load the model in another process and ask the network.
                    pip_requirements=[_requirement(package_name) for package_name in _REQUIREMENTS],
                    registered_model_name=name,
                    metadata={"profile": profile, **settings, **(metadata or {})},
                    tags=tags,
                )
        except MlflowException as error:
            raise RegistryError(f"{directory}: cannot be registered as {name}: {error}") from error
    number = int(logged.registered_model_version)
    for key, value in {**tags, DIGEST: digest}.items():
        run.tracking.client.set_model_version_tag(name, str(number), key, value)
    return ModelVersion(name, number, logged.model_id, f"models:/{name}/{number}")


def _requirement(name: str) -> str:
    # Without a local part such as +cpu, which no package index has.
    return f"{name}=={installed_version(name).partition('+')[0]}"
