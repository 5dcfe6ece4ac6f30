"""The directory a registered version holds: an ordinary checkpoint, safetensors only, with an afmrl.json."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from afmrl_models.errors import UserError

SETTINGS = "afmrl.json"
_PICKLED = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"}
# What training leaves beside a model: its arguments (a pickle nothing needs), its checkpoints, its records.
_LEFT_BY_TRAINERS = ("training_args.bin", "checkpoint-*", "*.parquet", SETTINGS)


class RegistryError(UserError):
    """A model that cannot be registered or found; the message names the directory or URI."""


def read_settings(directory: Path) -> dict[str, Any]:
    """What `package` wrote beside the model, such as image_size. Raises RegistryError naming the file."""
    try:
        settings = json.loads((directory / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RegistryError(f"{directory / SETTINGS}: cannot be read: {error}") from None
    if not isinstance(settings, dict):
        raise RegistryError(f"{directory / SETTINGS}: holds no settings")
    return settings


@contextmanager
def package(directory: Path, entry: str, settings: Mapping[str, Any], scratch: Path) -> Iterator[Path]:
    """A directory `model` with the checkpoint's files (as links) and its settings, while the block runs.

    entry: the file that makes it loadable, modules.json or config.json. Raises RegistryError where it or
    safetensors weights are missing, or where there is a pickle, which loading would execute.
    """
    if not (directory / entry).is_file():
        raise RegistryError(f"{directory}: holds no {entry}, so no model that could be registered")
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".package-") as place:
        staged = Path(place) / "model"
        shutil.copytree(
            directory, staged, ignore=shutil.ignore_patterns(*_LEFT_BY_TRAINERS), copy_function=_link
        )
        files = [path.relative_to(staged) for path in staged.rglob("*") if path.is_file()]
        pickled = sorted(str(path) for path in files if path.suffix in _PICKLED)
        if pickled:
            raise RegistryError(f"{directory}: holds pickles ({', '.join(pickled)}); save it as safetensors")
        if not any(path.suffix == ".safetensors" for path in files):
            raise RegistryError(f"{directory}: holds no weights (*.safetensors)")
        (staged / SETTINGS).write_text(json.dumps(dict(settings), ensure_ascii=False), encoding="utf-8")
        yield staged


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)
