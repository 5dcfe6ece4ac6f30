"""What every asset is given: the profile, the places of the tables and models, MLflow."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field, PrivateAttr

from afmrl_dagster import device_lock
from afmrl_dagster.execution import PROFILE_TAG, this_process
from afmrl_dagster.seeds import is_seeded, partition_of, seed_of
from afmrl_dagster.settings import MadeWith
from afmrl_models.config import Profile, load_profile
from afmrl_models.errors import UserError

if TYPE_CHECKING:
    from afmrl_models.registry.tracking import Tracking


RUN_FILE = ".dagster_run"
_PARTITION_TAG = "dagster/partition"


class MissingAssetError(UserError):
    """What is needed was never made; the message names the asset and what to run."""


class Pipeline(dg.ConfigurableResource):
    """One profile and the directory its tables, photos and models live in.

    A run of one seed's partition sees that seed's outputs, and those that all seeds share. A step that was
    given settings of its own sees them in the profile.
    """

    config_path: str = Field(description="the profile: a YAML file such as assets_config/demo.yaml")
    home: str = Field(
        description="AFMRL_HOME: all state, one folder a profile, MLflow's database beside them"
    )

    _seed: int | None = PrivateAttr(None)
    _run_id: str | None = PrivateAttr(None)
    _given: Mapping[str, Any] = PrivateAttr(default_factory=dict)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Take the seed from the partition that the run materializes; tag the run: profile and process."""
        if context.run is not None:
            self._run_id = context.run.run_id
            partition = context.run.tags.get(_PARTITION_TAG)
            self._seed = None if partition is None else seed_of(partition)
            if context.instance is not None:
                # A run from the UI is told from those of another profile in the same home by nothing else;
                # and one whose process is gone must not look as if it were under way.
                profile = context.run.tags.get(PROFILE_TAG) or self.profile().name
                context.instance.add_run_tags(self._run_id, {PROFILE_TAG: profile, **this_process()})

    def of_seed(self, seed: int) -> "Pipeline":
        """This pipeline as a run of another seed sees it."""
        other = self.with_settings(self.given)
        other._seed = seed
        return other

    @property
    def given(self) -> Mapping[str, Any]:
        """Settings, by dotted key, that the step was given in place of the profile's."""
        return self._given

    def with_settings(self, given: Mapping[str, Any]) -> "Pipeline":
        """This pipeline with these in place of the profile's settings."""
        other = Pipeline(config_path=self.config_path, home=self.home)
        other._seed, other._run_id, other._given = self._seed, self._run_id, given
        return other

    @property
    def run_seed(self) -> int | None:
        """The partition's seed, else the profile's only one; None where the run is for all seeds."""
        seeds = self.profile().seeds
        return seeds[0] if len(seeds) == 1 else self._seed

    @property
    def seed(self) -> int:
        """The run's one seed. Raises Failure in a run that is for all of the profile's seeds."""
        if self.run_seed is None:
            raise dg.Failure(
                f"{self.config_path}: this run is for all seeds, and what it needs exists once for each: "
                "start a run of one partition"
            )
        return self.run_seed

    def profile(self) -> Profile:
        """The validated profile. Raises ProfileError naming the file and the key."""
        return load_profile(self.config_path, instead=self.given)

    def device(self) -> str:
        """`cuda` or `cpu`, as profile and machine say; on a CPU, torch gets the profile's `cpu_threads`.

        The step that asks has the device to itself until it ends (`device_lock`), and waits for that here.
        Raises UserError for a GPU that is not there.
        """
        import torch

        from afmrl_models.backbones.device import pick_device

        profile = self.profile()
        device = pick_device(profile.device)
        if device == "cpu":
            torch.set_num_threads(profile.cpu_threads)
        if device != "cpu" or profile.runs.device_lock == "always":
            device_lock.take(device)
        return device

    def directory(self, key: Sequence[str]) -> Path:
        """Where the asset with this key leaves its output; of a seeded one, the run's seed's."""
        return self._root(key) / Path(*key)

    def made(self, key: Sequence[str]) -> Path:
        """The directory of an asset that is to be read. Raises MissingAssetError where it was never made."""
        directory = self.directory(key)
        if not directory.is_dir():
            name, config = "/".join(key), os.path.relpath(self.config_path)
            seed = f" for seed {self.seed}" if is_seeded(self.profile(), key) else ""
            raise MissingAssetError(
                f"{name} was never made{seed} (there is no {directory}): materialize it first, with all that "
                f"it needs: afmrl run --config {config} --resume --select '*{name}'"
            )
        return directory

    def scratch(self, key: Sequence[str]) -> Path:
        """Where the asset with this key keeps unfinished work, to resume after a stop."""
        path = self._root(key) / "scratch" / Path(*key)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _root(self, key: Sequence[str]) -> Path:
        profile = self.profile()
        root = Path(self.home) / profile.name
        return root / partition_of(self.seed) if is_seeded(profile, key) else root

    def sign(self, directory: Path, key: Sequence[str]) -> None:
        """Note in an output of the asset which Dagster run made it, and with what settings."""
        if self._run_id is not None:
            (directory / RUN_FILE).write_text(self._run_id, encoding="utf-8")
        MadeWith.of(self.profile(), key).write(directory)

    @contextmanager
    def replacing(self, key: Sequence[str], of: Sequence[str] | None = None) -> Iterator[Path]:
        """A fresh directory that takes the place of the asset's last output when the block succeeds.

        of: the asset's key, where its output is kept under another.
        """
        final = self.directory(key)
        partial = final.with_name(f".{final.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        self.sign(partial, of or key)
        self.put(partial, key)

    def put(self, directory: Path, key: Sequence[str]) -> None:
        """Let a finished directory take the place of the asset's last output."""
        final = self.directory(key)
        previous = final.with_name(f".{final.name}.previous")
        shutil.rmtree(previous, ignore_errors=True)
        if final.exists():
            final.rename(previous)
        directory.rename(final)
        shutil.rmtree(previous, ignore_errors=True)

    def data_docs(self, group: str) -> Path:
        """Where the Data Docs of a group's attribute table lie, below `data_docs_root`."""
        profile = self.profile()
        root = data_docs_root(Path(self.home)) / profile.name
        return (root / partition_of(self.seed) if is_seeded(profile, (group,)) else root) / group

    def champion_history(self) -> Path:
        """All decisions on champions and all rollbacks, a line of JSON each."""
        return Path(self.home) / self.profile().name / "release" / "champion_history.jsonl"

    def tracking(self) -> "Tracking":
        """MLflow: the profile's experiment and registered models."""
        from afmrl_models.registry.tracking import Tracking

        profile = self.profile()
        return Tracking(profile.tracking.uri, Path(self.home), profile.name)


def data_docs_root(home: Path) -> Path:
    """The site of all Data Docs, a folder a profile, which `afmrl ui` serves."""
    return home / "data_docs"


def data_docs_ui() -> str:
    """Base address of the Data Docs that metadata links to."""
    return os.environ.get("AFMRL_DOCS_UI", "http://127.0.0.1:5001").rstrip("/")


def dagster_ui() -> str:
    """Base address of the Dagster pages that alerts link to."""
    return os.environ.get("AFMRL_DAGSTER_UI", "http://127.0.0.1:3000").rstrip("/")


def mlflow_ui() -> str:
    """Base address of the MLflow pages that metadata links to."""
    return os.environ.get("AFMRL_MLFLOW_UI", "http://127.0.0.1:5000").rstrip("/")
