"""Curves of a training, reported while it runs under names that every trained version shares."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

# Values by name, and the step they belong to; `RunHandle.log_metrics` of an MLflow run is one.
Report = Callable[[Mapping[str, float], int], None]


class StepReport(TrainerCallback):
    """Hands what a trainer logs to `report`; `names` maps its names to ours, others are left out.

    updates_a_step: optimiser updates that count as one step. A value that is not finite is left out: one
    overflown gradient norm is no reason to stop a training. A training that goes on after a stop reports what
    it logged before, too.
    """

    def __init__(self, report: Report, names: Mapping[str, str], updates_a_step: int = 1) -> None:
        self._report = report
        self._names = names
        self._updates_a_step = updates_a_step

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.is_world_process_zero:
            for entry in state.log_history:
                self._tell(entry, int(entry["step"]))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if state.is_world_process_zero and logs:
            self._tell(logs, state.global_step)

    def _tell(self, logs: Mapping[str, Any], step: int) -> None:
        found = {ours: float(logs[theirs]) for theirs, ours in self._names.items() if theirs in logs}
        finite = {name: value for name, value in found.items() if math.isfinite(value)}
        if finite:
            self._report(finite, step // self._updates_a_step)


def report_curves(
    trainer: Trainer, report: Report | None, names: Mapping[str, str], updates_a_step: int = 1
) -> None:
    """Let a trainer report its steps, where somebody wants to know."""
    if report is not None:
        trainer.add_callback(StepReport(report, names, updates_a_step))


class LogLastStep(TrainerCallback):
    """Logs the last step, too, where it is no multiple of the logging steps: the history is complete."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.global_step >= state.max_steps:
            control.should_log = True


def mean_loss(log: Sequence[Mapping[str, Any]]) -> float:
    """Over all steps of a complete history, whose entries are means over the steps since the one before."""
    losses = [entry for entry in log if "loss" in entry]
    steps = np.diff([entry["step"] for entry in losses], prepend=0)
    return float(np.average([entry["loss"] for entry in losses], weights=steps))
