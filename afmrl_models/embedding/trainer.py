"""The library's trainer on planned batches."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainer
from sentence_transformers.base.sampler import DefaultBatchSampler

from afmrl_models.backbones.curves import LogLastStep
from afmrl_models.backbones.trained_weights import KeepsTrainedWeights
from afmrl_models.embedding.pairs import PairBatch


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


class EmbedderTrainer(KeepsTrainedWeights, SentenceTransformerTrainer):
    """Takes `batches` in their order; no automatic model card, which cannot hold photos."""

    def __init__(self, *, batches: Sequence[PairBatch], **settings: Any) -> None:
        self.batches = batches
        super().__init__(**settings)
        self.add_callback(LogLastStep())

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


class _PlannedBatches(DefaultBatchSampler):
    """The planned batches, in order."""

    def __init__(self, dataset: Dataset, batches: Sequence[PairBatch], batch_size: int) -> None:
        super().__init__(dataset, batch_size=batch_size, drop_last=False)
        self.ends = np.cumsum([0, *(len(batch.anchors) for batch in batches)]).tolist()

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __iter__(self) -> Iterator[list[int]]:
        return (list(range(*limits)) for limits in pairwise(self.ends))
