"""Trainers whose checkpoints hold what is trained and nothing else."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import Trainer

WEIGHTS = "trained.safetensors"


class KeepsTrainedWeights(Trainer):
    """First of a trainer's bases: it saves the weights that train, by name; whole models and adapters."""

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """None: an unfinished model needs none."""

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
        model: torch.nn.Module = self.model  # type: ignore[assignment]
        return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
