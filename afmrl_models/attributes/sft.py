"""Distillation: the teacher's attribute texts become the generator's, through TRL's SFTTrainer."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import SFTConfig as TrlSftConfig
from trl import SFTTrainer

from afmrl_models.attributes.grammar import parse, render
from afmrl_models.attributes.prompt import trl_prompt
from afmrl_models.backbones.adapters import lora_config
from afmrl_models.backbones.checkpoint import checkpoint_digest, save_checkpoint
from afmrl_models.backbones.curves import LogLastStep, Report, mean_loss, report_curves
from afmrl_models.backbones.processor import register
from afmrl_models.backbones.trained_weights import KeepsTrainedWeights
from afmrl_models.backbones.training_bar import show_progress
from afmrl_models.backbones.training_checkpoints import TrainingCheckpoints
from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.learned_from import LearnedFrom
from afmrl_models.catalog.variation import vary
from afmrl_models.config import BackboneConfig, SftConfig
from afmrl_models.errors import UserError

logger = logging.getLogger(__name__)

LOGGING_STEPS = 10
CURVES = {
    "loss": "train/loss",
    "mean_token_accuracy": "train/token_accuracy",
    "grad_norm": "train/grad_norm",
    "learning_rate": "train/learning_rate",
}


@dataclass(frozen=True)
class SftResult:
    """What a distillation reached: metrics of its last logged steps, its duration, and a row a logged step.

    history: step, loss, token_accuracy.
    """

    metrics: dict[str, float]
    seconds: float
    history: pd.DataFrame


def sft_rows(
    teacher: pd.DataFrame,
    listings: pd.DataFrame,
    images: ImageStore,
    keys: Sequence[str],
    seen: LearnedFrom | None = None,
    *,
    title_dropout: float = 0.0,
    key_dropout: float = 0.0,
    vary_photos: bool = False,
    seed: int = 0,
    already_read: int = 0,
) -> Dataset:
    """The rows SFTTrainer reads: `prompt` and `completion` messages, and the `image`, fetched when read.

    teacher: rows of PRODUCT_ATTRIBUTES; only valid ones are taught. listings: `listing_id`, `title`. Rows are
    sorted by listing id, so that their order in the tables does not matter. seen: notes what is read.
    title_dropout: at each reading this share of the rows has an empty title. key_dropout: each pair of a text
    is left out with this chance, one stays. vary_photos: each reading shows the photo in another crop and
    light (`catalog.variation`). All are drawn from `seed` and the number of the reading, which starts at
    `already_read`.
    Raises ValueError where nothing is left to teach, or a taught listing is not among the listings or has
    no photo.
    """
    taught = teacher[teacher["valid"].astype(bool)].sort_values("listing_id")
    if taught.empty:
        raise UserError(
            f"the teacher wrote no valid attribute text for any of {len(teacher)} listings; where sellers "
            "state no attributes (catalog.source.columns.attributes), attributes.teacher must be of another "
            "kind than catalog"
        )
    titles = dict(zip(listings["listing_id"], listings["title"], strict=True))
    for listing_id in taught["listing_id"]:
        if listing_id not in titles:
            raise ValueError(f"the teacher wrote about {listing_id!r}, which is not among the listings")
        if listing_id not in images:
            raise ValueError(f"listing {listing_id!r} has no photo in the image store")
    rows = Dataset.from_dict(
        {
            "listing_id": list(taught["listing_id"]),
            "prompt": [trl_prompt(titles[listing_id], keys) for listing_id in taught["listing_id"]],
            "completion": [_completion(text) for text in taught["attributes_text"]],
        }
    )

    numbers = count(already_read)
    untitled = trl_prompt("", keys)

    def read(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        ids = batch.pop("listing_id")
        if seen is not None:
            seen.note("distillation", *ids)
        prompts, photos, completions = [], [], []
        for listing_id, prompt, completion in zip(ids, batch["prompt"], batch["completion"], strict=True):
            rng = np.random.default_rng([seed, next(numbers)])
            prompts.append(untitled if rng.random() < title_dropout else prompt)
            photo = images.get(listing_id)
            photos.append(vary(photo, rng) if vary_photos else photo)
            completions.append(_fewer(completion, key_dropout, rng) if key_dropout else completion)
        return {"prompt": prompts, "completion": completions, "image": photos}

    return rows.with_transform(read)


def train_generator(
    base: Path,
    teacher: pd.DataFrame,
    listings: pd.DataFrame,
    images: ImageStore,
    keys: Sequence[str],
    backbone: BackboneConfig,
    config: SftConfig,
    out: Path,
    *,
    seed: int,
    device: str,
    report: Report | None = None,
    checkpoints: Path | None = None,
) -> SftResult:
    """Teach the generator in `base` to write the teacher's texts; the result is a checkpoint directory `out`,
    with a record of the listings that were read (`learned_from`).

    teacher, listings, images, keys: see `sft_rows`. The loss is that of the completion's tokens. report: is
    given CURVES while it trains. The same arguments give the same weights on the same machine. checkpoints: a
    folder for `TrainingCheckpoints`; called again after a stop with all else the same, it goes on from the
    last whole one to the same model.
    """
    register()
    seen = LearnedFrom()
    seen.note("distillation")
    mini_batch = min(config.mini_batch_size or config.batch_size, config.batch_size)
    if config.batch_size % mini_batch:
        raise UserError(
            f"sft: batch_size {config.batch_size} is not a multiple of mini_batch_size {mini_batch}"
        )
    decides = {
        "base": checkpoint_digest(base),
        "teacher": teacher[["listing_id", "attributes_text", "valid"]].to_json(orient="records"),
        "listings": listings.to_json(orient="records"),
        "keys": list(keys),
        "image_size": images.size,
        "backbone": backbone.model_dump(mode="json"),
        "sft": config.model_dump(mode="json"),
        "seed": seed,
        "device": device,
    }
    started = time.monotonic()
    with TrainingCheckpoints(checkpoints, decides, config.steps, remembered={"seen": seen}) as kept:
        rows = sft_rows(
            teacher,
            listings,
            images,
            keys,
            seen,
            title_dropout=config.title_dropout,
            key_dropout=config.key_dropout,
            vary_photos=config.vary_photos,
            seed=seed,
            already_read=_rows_of(kept.done, int(teacher["valid"].sum()), config.batch_size),
        )
        trainer = _trainer(base, rows, backbone, config, mini_batch, seed, device, kept.arguments)
        show_progress(trainer, loss="loss", mean_token_accuracy="token accuracy")
        report_curves(trainer, report, CURVES)
        kept.train(trainer)
        trained = trainer.accelerator.unwrap_model(trainer.model)
        if backbone.lora:
            trained = trained.merge_and_unload()
        half = backbone.dtype == "bfloat16"
        save_checkpoint(trained.to(torch.bfloat16 if half else torch.float32), trainer.processing_class, out)
        seen.save(out)
    metrics = _last_metrics(trainer.state.log_history)
    seconds = time.monotonic() - started
    logger.info("taught %d rows in %d steps, %.0f s: %s", len(rows), config.steps, seconds, metrics)
    return SftResult({**metrics, "rows": float(len(rows))}, seconds, _history(trainer.state.log_history))


class _Trainer(KeepsTrainedWeights, SFTTrainer):
    pass


def _trainer(
    base: Path,
    rows: Dataset,
    backbone: BackboneConfig,
    config: SftConfig,
    mini_batch: int,
    seed: int,
    device: str,
    checkpoints: Mapping[str, Any],
) -> SFTTrainer:
    half = backbone.dtype == "bfloat16"
    # Full training keeps float32 weights and computes in bfloat16; under adapters the frozen weights may be
    # half.
    model = AutoModelForImageTextToText.from_pretrained(
        base,
        dtype=torch.bfloat16 if half and backbone.lora else torch.float32,
        attn_implementation=backbone.attention,
    )
    trainer = _Trainer(
        model=model,
        processing_class=AutoProcessor.from_pretrained(base),
        train_dataset=rows,
        peft_config=lora_config(backbone.lora, "CAUSAL_LM"),
        args=TrlSftConfig(
            **checkpoints,
            max_steps=config.steps,
            per_device_train_batch_size=mini_batch,
            gradient_accumulation_steps=config.batch_size // mini_batch,
            learning_rate=config.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=round(config.warmup_share * config.steps),
            completion_only_loss=True,
            max_length=None,
            remove_unused_columns=False,  # the photo is looked up by a column the collator does not read
            bf16=half,
            gradient_checkpointing=backbone.pretrained is not None and device == "cuda",
            use_cpu=device == "cpu",
            logging_steps=min(LOGGING_STEPS, config.steps),
            report_to="none",
            seed=seed,
            data_seed=seed,
        ),
    )
    # TRL sums over tokens and divides by the count of the whole batch; without this, Qwen-VL's flag
    # against it makes the Trainer average over mini-batches, whose tokens then weigh differently.
    trainer.model_accepts_loss_kwargs = True
    trainer.add_callback(LogLastStep())
    return trainer


def _completion(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _fewer(completion: list[dict[str, str]], chance: float, rng: np.random.Generator) -> list[dict[str, str]]:
    """The completion with each pair of its text left out with `chance`; where all would go, one stays."""
    pairs = list(parse(completion[0]["content"]).items())
    kept = [pair for pair in pairs if rng.random() >= chance] or [pairs[rng.integers(len(pairs))]]
    return _completion(render(dict(kept)))


def _rows_of(steps: int, rows: int, batch: int) -> int:
    """How many rows are read in so many steps; the last step of a pass over the rows may be a smaller one."""
    steps_a_pass = math.ceil(rows / batch)
    passes, further = divmod(steps, steps_a_pass)
    return passes * rows + further * batch


def _history(log: Sequence[dict[str, float]]) -> pd.DataFrame:
    steps = [entry for entry in log if "loss" in entry]
    frame = pd.DataFrame(steps).rename(columns={"mean_token_accuracy": "token_accuracy"})
    return frame[["step", "loss", "token_accuracy"]]


def _last_metrics(history: Sequence[dict[str, float]]) -> dict[str, float]:
    """Loss and token accuracy of the last logged steps, and the loss over all of them."""
    last = next(entry for entry in reversed(history) if "loss" in entry)
    return {
        "loss": float(last["loss"]),
        "token_accuracy": float(last["mean_token_accuracy"]),
        "mean_loss": mean_loss(history),
    }
