"""A progress bar for trainers that shows a few numbers instead of a line for every log entry."""

from collections.abc import Mapping
from typing import Any

from transformers import Trainer, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback


class TrainingBar(ProgressCallback):
    """tqdm over the steps; `shown` maps the names of logged metrics to what the bar calls them."""

    def __init__(self, shown: Mapping[str, str]) -> None:
        super().__init__()
        self._shown = shown

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        super().on_train_begin(args, state, control, **kwargs)
        if self.training_bar is not None:
            self.training_bar.set_description("training")
            self.training_bar.unit = "step"

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if state.is_world_process_zero and self.training_bar is not None and logs:
            found = {name: logs[key] for key, name in self._shown.items() if key in logs}
            if found:
                self.training_bar.set_postfix({name: f"{float(value):.3f}" for name, value in found.items()})


def show_progress(trainer: Trainer, **shown: str) -> None:
    """Give a trainer a `TrainingBar` in place of its own; `loss="name"` shows the metric loss as name."""
    for callback in (ProgressCallback, PrinterCallback):
        trainer.pop_callback(callback)
    trainer.add_callback(TrainingBar({metric: name for name, metric in shown.items()}))
