"""Checkpoints of an unfinished training: trusted only when whole, and of the same training."""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from afmrl_models.backbones.checkpoint import checkpoint_digest

logger = logging.getLogger(__name__)

SETTINGS = "settings.json"
SEALS = "seals"


class Checkpoints(TrainerCallback):
    """A folder of checkpoints, each sealed with its digest once it is written in full.

    decides: all that decides what the training comes to, as JSON; checkpoints of another one are removed.
    """

    def __init__(self, folder: Path, decides: Mapping[str, Any]) -> None:
        self.folder = folder
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
        stated = json.dumps({"digest": digest})
        settings = folder / SETTINGS
        if folder.exists() and not (settings.is_file() and settings.read_bytes() == stated.encode()):
            logger.info("%s holds another training's checkpoints: removed", folder)
            shutil.rmtree(folder)
        (folder / SEALS).mkdir(parents=True, exist_ok=True)
        settings.write_text(stated, encoding="utf-8")

    def last(self) -> Path | None:
        """The latest whole checkpoint; later ones, cut off or damaged, are removed."""
        found = [path for path in self.folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if path.is_dir()]
        for path in sorted(found, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True):
            seal = self.folder / SEALS / path.name
            if seal.is_file() and seal.read_bytes() == checkpoint_digest(path).encode():
                return path
            logger.warning("%s is cut off or damaged: not used", path)
            shutil.rmtree(path)
        return None

    def remove(self) -> None:
        """The training is done."""
        shutil.rmtree(self.folder)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        name = f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        (self.folder / SEALS / name).write_text(checkpoint_digest(self.folder / name), encoding="utf-8")
