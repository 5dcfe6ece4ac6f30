"""Contrastive training of the embedder; baseline and AGCL differ in the loss and in nothing else."""

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

from afmrl_models.attributes.bm25 import BM25
from afmrl_models.backbones.checkpoint import checkpoint_digest
from afmrl_models.backbones.curves import Report, mean_loss, report_curves
from afmrl_models.backbones.training_bar import show_progress
from afmrl_models.backbones.training_checkpoints import TrainingCheckpoints
from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.learned_from import LearnedFrom
from afmrl_models.config import BackboneConfig, EmbedderTraining, Modality
from afmrl_models.embedding.embedder import encode_listings, new_embedder, save_embedder
from afmrl_models.embedding.inputs import EmbedderInput, embedder_input, listing_text
from afmrl_models.embedding.loss import (
    AGCLLoss,
    UncachedAGCLLoss,
    UncachedMultipleNegativesRankingLoss,
    product_numbers,
)
from afmrl_models.embedding.pairs import MODALITIES, Likeness, plan_batches
from afmrl_models.embedding.trainer import EmbedderTrainer, pair_rows

logger = logging.getLogger(__name__)

LossName = Literal["infonce", "agcl"]
LOGGED_STEPS = 50
CURVES = {"loss": "train/loss", "grad_norm": "train/grad_norm", "learning_rate": "train/learning_rate"}


@dataclass(frozen=True)
class TrainingResult:
    """metrics: `train_loss` (mean over the steps), `steps`, `pairs`, `seconds_per_step`; history: one row a
    logged step (step, loss, grad_norm, learning_rate); settings: what the loss was configured with."""

    metrics: dict[str, float]
    seconds: float
    history: pd.DataFrame
    settings: dict[str, Any]


def train_embedder(
    base: Path,
    listings: pd.DataFrame,
    attributes: Mapping[str, str],
    images: ImageStore,
    config: EmbedderTraining,
    *,
    loss: LossName,
    steps: int,
    out: Path,
    seed: int,
    device: str,
    backbone: BackboneConfig,
    report: Report | None = None,
    checkpoints: Path | None = None,
) -> TrainingResult:
    """Train an embedder from `base` for `steps` steps and save it in directory `out`.

    base: a backbone's checkpoint directory, or an embedder to continue. listings: the training split, and
    nothing else. attributes: attribute text by listing id, shown to the embedder as the dropouts say, and
    compared by AGCL's BM25 in every batch; listings it does not hold have none. The listings it has seen are
    recorded in `out` (`learned_from`). report: is given CURVES while it trains. checkpoints: a folder for
    `TrainingCheckpoints`; called again after a stop with all else the same, it goes on from the last whole
    one to the same model. AdamW, cosine decay after a warm-up, gradients clipped at norm 1.

    Raises ValueError when the listings give no pairs to train on.
    """
    if steps < 1:
        raise ValueError(f"training needs at least one step, not {steps}")
    rows = _TrainingListings.of(listings, attributes, images)
    rows.seen.note("training pairs")
    numbers = product_numbers(rows.products)
    bm25 = BM25(rows.attributes, k1=config.bm25_k1, b=config.bm25_b)
    rows.seen.note("BM25 documents", *rows.ids)
    torch.manual_seed(seed)  # new adapters start at random
    model = new_embedder(base, backbone, device)
    likeness = _likeness(config, bm25, model, listings, images)
    batches = plan_batches(numbers, config, steps, seed, likeness)
    objective = _objective(loss, model, rows, bm25, config)
    decides = {
        "base": checkpoint_digest(base),
        "listings": listings.to_json(orient="records"),
        "attributes": rows.attributes,
        "image_size": images.size,
        "training": config.model_dump(mode="json"),
        "backbone": backbone.model_dump(mode="json"),
        "loss": loss,
        "steps": steps,
        "seed": seed,
        "device": device,
    }
    logging_steps = max(1, steps // LOGGED_STEPS)
    started = time.perf_counter()
    with TrainingCheckpoints(checkpoints, decides, steps, remembered={"seen": rows.seen}) as kept:
        arguments = SentenceTransformerTrainingArguments(
            **kept.arguments,
            max_steps=steps,
            per_device_train_batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=math.ceil(config.warmup_share * steps),
            max_grad_norm=1.0,
            optim="adamw_torch",
            bf16=backbone.dtype == "bfloat16",
            use_cpu=device == "cpu",
            dataloader_pin_memory=device != "cpu",
            seed=seed,
            data_seed=seed,
            eval_strategy="no",
            logging_strategy="steps",
            logging_steps=logging_steps,
            report_to="none",
            disable_tqdm=False,
        )
        trainer = EmbedderTrainer(
            model=model,
            args=arguments,
            train_dataset=pair_rows(batches),
            loss=objective,
            data_collator=_ListingCollator(preprocess_fn=model.preprocess, rows=rows),
            batches=batches,
        )
        show_progress(trainer, loss="loss")
        report_curves(trainer, report, CURVES)
        kept.train(trainer)
        seconds = time.perf_counter() - started
        save_embedder(model, out)
        rows.seen.save(out)
    history = pd.DataFrame([entry for entry in trainer.state.log_history if "loss" in entry])
    metrics = {
        "train_loss": mean_loss(trainer.state.log_history),
        "steps": float(steps),
        "pairs": float(sum(len(batch.anchors) for batch in batches)),
        "seconds_per_step": seconds / steps,
    }
    logger.info("%s: %d steps in %.0f s, mean loss %.4f", loss, steps, seconds, metrics["train_loss"])
    columns = ["step", "loss", "grad_norm", "learning_rate"]
    return TrainingResult(metrics, seconds, history[columns], {"loss": loss, **objective.get_config_dict()})


def _likeness(
    config: EmbedderTraining,
    bm25: BM25,
    model: SentenceTransformer,
    listings: pd.DataFrame,
    images: ImageStore,
) -> Likeness:
    """How alike listings are, for batches of look-alikes."""
    if config.neighbours == 1 or config.neighbours_by == "attributes":
        return lambda row, candidates: bm25.scores([row], candidates.tolist())[0].numpy()
    vectors = encode_listings(model, listings, images, "multimodal", None, config.batch_size)
    return lambda row, candidates: vectors[candidates] @ vectors[row]


def _objective(
    loss: LossName,
    model: SentenceTransformer,
    rows: "_TrainingListings",
    bm25: BM25,
    config: EmbedderTraining,
) -> CachedMultipleNegativesRankingLoss:
    if loss == "infonce":
        infonce = (
            CachedMultipleNegativesRankingLoss
            if config.gradient_caching
            else UncachedMultipleNegativesRankingLoss
        )
        return infonce(model, scale=1 / config.temperature, mini_batch_size=config.mini_batch_size)
    if loss == "agcl":
        return (AGCLLoss if config.gradient_caching else UncachedAGCLLoss)(
            model,
            bm25,
            rows.products,
            temperature=config.temperature,
            margin=config.margin,
            bm25_scale=config.bm25_scale,
            mini_batch_size=config.mini_batch_size,
        )
    raise ValueError(f"loss must be 'infonce' or 'agcl', not {loss!r}")


@dataclass(frozen=True)
class _TrainingListings:
    """The training split by row number."""

    ids: list[str]
    titles: list[str]
    products: list[str | None]
    attributes: list[str]
    images: ImageStore
    seen: LearnedFrom = field(default_factory=LearnedFrom)

    @classmethod
    def of(
        cls, listings: pd.DataFrame, attributes: Mapping[str, str], images: ImageStore
    ) -> "_TrainingListings":
        ids = listings["listing_id"].tolist()
        products = listings["product_id"].tolist()
        texts = [attributes.get(id_, "") for id_ in ids]
        return cls(ids, listings["title"].tolist(), products, texts, images)

    def show(self, row: int, modality: Modality, with_attributes: bool) -> EmbedderInput:
        self.seen.note("training pairs", self.ids[row])
        image = self.images.get(self.ids[row]) if modality != "text" else None
        text = listing_text(self.titles[row], self.attributes[row] if with_attributes else None)
        return embedder_input(modality, image, text)


@dataclass
class _ListingCollator(SentenceTransformerDataCollator):
    """Turns pairs of row numbers into photos and texts, and hands the row numbers on as labels (B, 2).

    Photos come from the memory-mapped store as they are needed; the dataset holds numbers only.
    """

    rows: _TrainingListings = field(kw_only=True, repr=False)

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        shown = [self._shown(pair) for pair in features]
        # Texts of like length share a mini-batch; the order within a batch does not matter to the losses.
        shown.sort(
            key=lambda pair: -len(pair["anchor"].get("text", "")) - len(pair["positive"].get("text", ""))
        )
        return super().__call__(shown)

    def _shown(self, pair: dict[str, Any]) -> dict[str, Any]:
        anchor, positive = MODALITIES[pair["kind"]]
        return {
            "anchor": self.rows.show(pair["anchor"], anchor, pair["anchor_attributes"]),
            "positive": self.rows.show(pair["positive"], positive, pair["positive_attributes"]),
            "label": torch.tensor([pair["anchor"], pair["positive"]]),
        }
