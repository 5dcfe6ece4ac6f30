"""The library's trainer on planned batches, with checkpoints that hold what is trained and nothing else."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformerTrainer
from sentence_transformers.base.sampler import DefaultBatchSampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from afmrl_models.embedding.pairs import PairBatch

WEIGHTS = "trained.safetensors"


def pair_rows(batches: Sequence[PairBatch]) -> Dataset:
    """All pairs of all batches, batch after batch."""
    return Dataset.from_dict(
        {
            "kind": [batch.kind for batch in batches for _ in batch.anchors],
            "anchor": np.concatenate([batch.anchors for batch in batches]),
            "positive": np.concatenate([batch.positives for batch in batches]),
            "anchor_attributes": np.concatenate([batch.anchor_attributes for batch in batches]),
            "positive_attributes": np.concatenate([batch.positive_attributes for batch in batches]),
        }
    )


class EmbedderTrainer(SentenceTransformerTrainer):
    """Takes `batches` in their order; no automatic model card, which cannot hold photos.

    Its checkpoints hold the weights that train, by name: whole models and adapters alike.
    """

    def __init__(self, *, batches: Sequence[PairBatch], **settings: Any) -> None:
        self.batches = batches
        super().__init__(**settings)
        self.add_callback(_LogLastStep())

    def get_batch_sampler(
        self,
        dataset: Dataset,
        batch_size: int,
        drop_last: bool,
        valid_label_columns: list[str] | None = None,
        generator: torch.Generator | None = None,
        seed: int = 0,
    ) -> "_PlannedBatches":
        return _PlannedBatches(dataset, self.batches, batch_size)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        return None

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.args.output_dir or ".")
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: weight.detach().contiguous() for name, weight in self._trained().items()}
        save_file(weights, folder / WEIGHTS)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: torch.nn.Module | None = None
    ) -> None:
        kept = load_file(Path(resume_from_checkpoint) / WEIGHTS)
        with torch.no_grad():
            for name, weight in self._trained().items():
                weight.copy_(kept[name])

    def _trained(self) -> dict[str, torch.nn.Parameter]:
        return {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}


class _PlannedBatches(DefaultBatchSampler):
    """The planned batches, in order."""

    def __init__(self, dataset: Dataset, batches: Sequence[PairBatch], batch_size: int) -> None:
        super().__init__(dataset, batch_size=batch_size, drop_last=False)
        self.ends = np.cumsum([0, *(len(batch.anchors) for batch in batches)]).tolist()

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __iter__(self) -> Iterator[list[int]]:
        return (list(range(*limits)) for limits in pairwise(self.ends))


class _LogLastStep(TrainerCallback):
    """Logs the last step, too, where it is no multiple of the logging steps: the history is complete."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.global_step >= state.max_steps:
            control.should_log = True
