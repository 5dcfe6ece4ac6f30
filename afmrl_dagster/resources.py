"""What every asset is given: the profile, the places of the tables and models, MLflow."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from afmrl_models.config import Profile, load_profile

if TYPE_CHECKING:
    from afmrl_models.registry.tracking import Tracking


class Pipeline(dg.ConfigurableResource):
    """One profile and the directory its tables, photos and models live in."""

    config_path: str = Field(description="the profile: a YAML file such as assets_config/demo.yaml")
    home: str = Field(
        description="AFMRL_HOME: all state, one folder a profile, MLflow's database beside them"
    )

    def profile(self) -> Profile:
        """The validated profile. Raises ProfileError naming the file and the key."""
        return load_profile(self.config_path)

    def device(self) -> str:
        """`cuda` or `cpu`, as profile and machine say; on a CPU, torch gets the profile's `cpu_threads`.

        Raises UserError for a GPU that is not there.
        """
        import torch

        from afmrl_models.backbones.device import pick_device

        profile = self.profile()
        device = pick_device(profile.device)
        if device == "cpu":
            torch.set_num_threads(profile.cpu_threads)
        return device

    def directory(self, key: Sequence[str]) -> Path:
        """Where the asset with this key leaves its output."""
        return Path(self.home) / self.profile().name / Path(*key)

    def scratch(self, key: Sequence[str]) -> Path:
        """Where the asset with this key keeps unfinished work, to resume after a stop."""
        path = Path(self.home) / self.profile().name / "scratch" / Path(*key)
        path.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def replacing(self, key: Sequence[str]) -> Iterator[Path]:
        """A fresh directory that takes the place of the asset's last output when the block succeeds."""
        final = self.directory(key)
        partial = final.with_name(f".{final.name}.partial")
        previous = final.with_name(f".{final.name}.previous")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        shutil.rmtree(previous, ignore_errors=True)
        if final.exists():
            final.rename(previous)
        partial.rename(final)
        shutil.rmtree(previous, ignore_errors=True)

    def tracking(self) -> "Tracking":
        """MLflow: the profile's experiment and registered models."""
        from afmrl_models.registry.tracking import Tracking

        profile = self.profile()
        return Tracking(profile.tracking.uri, Path(self.home), profile.name)


def mlflow_ui() -> str:
    """Base address of the MLflow pages that metadata links to."""
    return os.environ.get("AFMRL_MLFLOW_UI", "http://127.0.0.1:5000").rstrip("/")
