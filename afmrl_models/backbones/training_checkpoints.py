"""Checkpoints of an unfinished training: trusted only when whole, and of the same training."""

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from afmrl_models.backbones.checkpoint import checkpoint_digest
from afmrl_models.backbones.interrupts import Interrupts

logger = logging.getLogger(__name__)

A_TRAINING = 10  # checkpoints, about
KEPT = 2
SETTINGS = "settings.json"
SEALS = "seals"
REMEMBERED = "remembered.json"


class Remembers(Protocol):
    """What a training gathers beside its weights, as JSON."""

    def state(self) -> Any: ...

    def restore(self, state: Any) -> None: ...


class TrainingCheckpoints(TrainerCallback):
    """A folder of about ten checkpoints of the training that is done in the `with` block, the last two kept.

    Each is sealed with its digest once it is written in full; one that is cut off or damaged is not used.
    They are found again by the next training of the same `decides`, and removed by one of another, and when
    the block succeeds. An interrupt (SIGINT, SIGTERM) waits until the step under way has left a checkpoint; a
    second one does not.

    decides: all that decides what the training comes to, as JSON. multiple_of: optimiser steps after which a
    checkpoint may be made. remembered: restored when the training goes on. Without a folder nothing is kept.
    """

    def __init__(
        self,
        folder: Path | None,
        decides: Mapping[str, Any],
        steps: int,
        *,
        multiple_of: int = 1,
        remembered: Mapping[str, Remembers] | None = None,
    ) -> None:
        self._scratch = None if folder else tempfile.TemporaryDirectory(prefix="afmrl-training-")
        self.folder = folder or Path(self._scratch.name)  # type: ignore[union-attr]
        self._multiple_of = multiple_of
        self._remembered = remembered or {}
        self._interrupts = Interrupts()
        every = -(-steps // (A_TRAINING * multiple_of)) * multiple_of
        kept = {"save_strategy": "steps", "save_steps": every, "save_total_limit": KEPT}
        self.arguments: dict[str, Any] = {
            "output_dir": str(self.folder),
            **(kept if folder else {"save_strategy": "no"}),
        }
        self._claim(decides)
        self._last = self._last_whole()
        if self._last is not None:
            logger.info("%s: goes on from %s", folder, self._last.name)
            kept_in_it = json.loads((self._last / REMEMBERED).read_text(encoding="utf-8"))
            for name, memory in self._remembered.items():
                memory.restore(kept_in_it[name])

    @property
    def done(self) -> int:
        """Optimiser steps that lie behind a training that goes on."""
        return 0 if self._last is None else _step_of(self._last)

    def train(self, trainer: Trainer) -> None:
        """Train to the end, from where the last checkpoint was made. `arguments` are of its arguments."""
        resumed = None if self._last is None else str(self._last)
        if self._scratch is not None:
            trainer.train()
            return
        trainer.add_callback(self)
        with self._interrupts.waiting():
            trainer.train(resume_from_checkpoint=resumed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._scratch is not None:
            self._scratch.cleanup()
        elif kind is None:
            shutil.rmtree(self.folder)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if self._interrupts.came and state.global_step % self._multiple_of == 0:
            control.should_save = True
        # What is gathered for the next log entry is not in a checkpoint.
        control.should_log |= control.should_save

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        path = self.folder / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        remembered = {name: memory.state() for name, memory in self._remembered.items()}
        (path / REMEMBERED).write_text(json.dumps(remembered), encoding="utf-8")
        (self.folder / SEALS / path.name).write_text(checkpoint_digest(path), encoding="utf-8")
        if self._interrupts.came:
            logger.warning("stopped after step %d, which left a checkpoint", state.global_step)
            self._interrupts.let_go()

    def _claim(self, decides: Mapping[str, Any]) -> None:
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
        stated = json.dumps({"digest": digest})
        settings = self.folder / SETTINGS
        if self.folder.exists() and not (settings.is_file() and settings.read_bytes() == stated.encode()):
            if self._scratch is None:
                logger.info("%s holds another training's checkpoints: removed", self.folder)
            shutil.rmtree(self.folder)
        (self.folder / SEALS).mkdir(parents=True, exist_ok=True)
        settings.write_text(stated, encoding="utf-8")

    def _last_whole(self) -> Path | None:
        """The latest whole checkpoint; later ones, cut off or damaged, are removed."""
        found = [path for path in self.folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if path.is_dir()]
        for path in sorted(found, key=_step_of, reverse=True):
            seal = self.folder / SEALS / path.name
            if seal.is_file() and seal.read_bytes() == checkpoint_digest(path).encode():
                return path
            logger.warning("%s is cut off or damaged: not used", path)
            shutil.rmtree(path)
        return None


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
