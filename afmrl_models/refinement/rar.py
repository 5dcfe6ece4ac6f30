"""RAR: the attribute generator learns by GRPO to write what helps the frozen embedder retrieve.

Stage 2 of docs/method.md.

The algorithm is TRL's `GRPOTrainer`; ours are the reward and the record. Where a run differs from textbook
GRPO (Shao et al. 2024, arXiv 2402.03300, algorithm 1):

- One outer iteration: the reference model is the SFT model throughout and is never replaced by the policy.
- With `passes` = 1 (the default, as in the paper) each sampled batch is used for one update, so the ratio of
  new to old policy is 1 and the clipping never acts; it does with `passes` > 1.
- Advantages divide by the group's sample standard deviation (n - 1) plus 1e-4. A group of equal rewards has
  advantage 0 and learns from the KL term alone: `frac_reward_zero_std` counts them.
- Special tokens that cannot occur in an attribute text (image placeholders, chat markers) are suppressed
  while sampling; the policy's log-probabilities are those of the full vocabulary.
- Gradients are clipped to norm 1, AdamW has no weight decay, the learning rate is constant.
- No outcome is masked: a text cut off at `max_new_tokens` is scored as it stands.

The rest is as published: loss averaged over each text's tokens and then over texts (`loss_type="grpo"`),
symmetric clipping, the k3 estimate of the KL without importance weights, sampling from the policy's whole
distribution.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import AutoProcessor, GenerationConfig
from trl import GRPOConfig, GRPOTrainer

from afmrl_models.attributes.prompt import trl_prompt
from afmrl_models.backbones.adapters import lora_config
from afmrl_models.backbones.checkpoint import checkpoint_digest, save_checkpoint
from afmrl_models.backbones.curves import Report, report_curves
from afmrl_models.backbones.processor import register
from afmrl_models.backbones.trained_weights import KeepsTrainedWeights
from afmrl_models.backbones.training_bar import show_progress
from afmrl_models.backbones.training_checkpoints import TrainingCheckpoints
from afmrl_models.catalog.images import ImageStore
from afmrl_models.config import BackboneConfig, RefinementConfig
from afmrl_models.embedding.embedder import load_embedder
from afmrl_models.errors import UserError
from afmrl_models.refinement.reward import RetrievalReward
from afmrl_models.refinement.samples import RecordedReward

logger = logging.getLogger(__name__)

HISTORY_FILE, SAMPLES_FILE = "history.parquet", "samples.parquet"
HISTORY = {  # TRL's names → ours
    "reward": "reward",
    "reward_std": "reward_std",
    "frac_reward_zero_std": "frac_reward_zero_std",
    "share_invalid": "share_invalid",
    "completions/mean_length": "mean_tokens",
    "mean_characters": "mean_characters",
    "completions/clipped_ratio": "share_cut_off",
    "kl": "kl",
    "entropy": "entropy",
    "loss": "loss",
    "grad_norm": "grad_norm",
    "step_time": "seconds",
}
CURVES = {  # TRL's names → those of the curves in MLflow
    "reward": "rar/reward_mean",
    "reward_std": "rar/reward_spread",
    "frac_reward_zero_std": "rar/no_signal_share",
    "share_invalid": "rar/invalid_share",
    "mean_characters": "rar/text_length",
    "completions/mean_length": "rar/text_tokens",
    "completions/clipped_ratio": "rar/cut_off_share",
    "kl": "rar/kl",
    "entropy": "rar/entropy",
    "loss": "train/loss",
    "grad_norm": "train/grad_norm",
    "learning_rate": "train/learning_rate",
}


@dataclass(frozen=True)
class RarResult:
    """What a refinement did.

    `history` has one row a step: step, reward and reward_std over all texts of the step, frac_reward_zero_std
    (share of texts whose group has equal rewards), share_invalid, mean_tokens and mean_characters of a text,
    share_cut_off, kl, entropy, loss, grad_norm, seconds. `samples`: whole groups of up to SAMPLED_STEPS + 1
    steps (`refinement.samples`). `metrics` sums up: reward etc. of the first and of the last tenth of the
    steps.
    """

    metrics: dict[str, float]
    history: pd.DataFrame
    samples: pd.DataFrame
    seconds: float


def refine_generator(
    generator: Path,
    embedder: Path,
    listings: pd.DataFrame,
    images: ImageStore,
    keys: Sequence[str],
    config: RefinementConfig,
    out: Path,
    *,
    seed: int,
    device: str,
    backbone: BackboneConfig,
    gallery_attributes: Mapping[str, str] | None = None,
    report: Report | None = None,
    embedder_batch_size: int = 64,
    checkpoints: Path | None = None,
) -> RarResult:
    """Refine the generator at `generator` against the frozen embedder and save model and processor to `out`.

    Beside them lie the history and the samples (HISTORY_FILE, SAMPLES_FILE) and a record of the listings
    that were seen (`learned_from`).

    `listings` is the training split only; queries are its listings with another listing of the same product.
    `gallery_attributes`: attribute texts that the gallery shows, where retrieval enriches it, too.
    `backbone` says dtype, attention and LoRA (merged before saving); bfloat16 means autocast over float32
    weights. `report` is given CURVES while it trains. `checkpoints`: a folder for `TrainingCheckpoints`;
    called again after a stop with all else the same, it goes on from the last whole one to the same model,
    with the texts that an undisturbed training would have sampled.
    Raises ValueError if there are fewer query listings than queries_per_step.
    """
    started = time.perf_counter()
    reward = RetrievalReward(
        load_embedder(embedder, device),
        listings,
        images,
        k=config.k,
        invalid_reward=config.invalid_reward,
        metric=config.metric,
        scope=config.gallery,
        batch_size=embedder_batch_size,
        gallery_attributes=gallery_attributes,
    )
    queries = reward.query_ids
    if len(queries) < config.queries_per_step:
        raise UserError(
            f"refinement.queries_per_step is {config.queries_per_step}, but only {len(queries)} training "
            "listings have another listing of the same product"
        )
    logger.info(
        "RAR: %d queries, gallery of %d, %s at %d", len(queries), len(listings), config.metric, config.k
    )
    recorder = RecordedReward(reward, config)
    register()
    processor = AutoProcessor.from_pretrained(generator, padding_side="left", truncation_side="left")
    decides = {
        "generator": checkpoint_digest(generator),
        "embedder": checkpoint_digest(embedder),
        "listings": listings.to_json(orient="records"),
        "gallery_attributes": None if gallery_attributes is None else dict(gallery_attributes),
        "keys": list(keys),
        "image_size": images.size,
        "refinement": config.model_dump(mode="json"),
        "backbone": backbone.model_dump(mode="json"),
        "seed": seed,
        "device": device,
    }
    with TrainingCheckpoints(
        checkpoints,
        decides,
        config.steps * config.passes,
        multiple_of=config.passes,  # the texts that a step has sampled are in no checkpoint
        remembered={"samples": recorder},
    ) as kept:
        trainer = _Trainer(
            passes_done=kept.done // (len(queries) // config.queries_per_step * config.passes),
            model=str(generator),
            reward_funcs=recorder,
            args=_arguments(
                config, backbone, _unwritable(generator, processor), seed, device, kept.arguments
            ),
            train_dataset=query_rows(queries, listings, images, keys),
            processing_class=processor,
            peft_config=lora_config(backbone.lora),
        )
        show_progress(trainer, reward="reward", frac_reward_zero_std="without signal")
        report_curves(trainer, report, CURVES, updates_a_step=config.passes)
        kept.train(trainer)
        model = trainer.accelerator.unwrap_model(trainer.model)
        save_checkpoint(model.merge_and_unload() if backbone.lora else model, processor, out)
        recorder.seen.save(out)
    history = _history(trainer.state.log_history, config)
    samples = recorder.samples()
    history.to_parquet(out / HISTORY_FILE, index=False)
    samples.to_parquet(out / SAMPLES_FILE, index=False)
    seconds = time.perf_counter() - started
    return RarResult(_summary(history, queries, listings), history, samples, seconds)


class _Trainer(KeepsTrainedWeights, GRPOTrainer):
    """TRL's; one that goes on after so many whole passes over the queries takes them in the order due."""

    def __init__(self, *, passes_done: int, **settings: Any) -> None:
        self._passes_done = passes_done
        super().__init__(**settings)

    def _get_train_sampler(self, dataset: Dataset | None = None) -> Sampler:
        sampler = super()._get_train_sampler(dataset)
        for _ in range(self._passes_done):
            next(iter(sampler))  # each pass draws an order
        return sampler


def query_rows(
    queries: Sequence[str], listings: pd.DataFrame, images: ImageStore, keys: Sequence[str]
) -> Dataset:
    """Rows {prompt, listing_id, image} for TRL; the photo is read when its row is."""
    titles = dict(zip(listings["listing_id"], listings["title"], strict=True))
    rows = Dataset.from_dict({"listing_id": list(queries)})

    def load(batch: dict[str, list[str]]) -> dict[str, list[Any]]:
        ids = batch["listing_id"]
        return {
            "prompt": [trl_prompt(titles[listing_id], keys) for listing_id in ids],
            "image": [images.get(listing_id) for listing_id in ids],
            "listing_id": ids,
        }

    return rows.with_transform(load)


def _arguments(
    config: RefinementConfig,
    backbone: BackboneConfig,
    suppress_tokens: list[int],
    seed: int,
    device: str,
    checkpoints: Mapping[str, Any],
) -> GRPOConfig:
    texts = config.group_size * config.queries_per_step
    mini_batch = config.mini_batch_size or texts
    return GRPOConfig(
        **checkpoints,
        seed=seed,
        use_cpu=device == "cpu",
        bf16=backbone.dtype == "bfloat16",
        gradient_checkpointing=backbone.pretrained is not None,
        model_init_kwargs={
            # Without adapters the optimiser's small steps would be lost in bfloat16 weights.
            "dtype": "float32" if backbone.lora is None else backbone.dtype,
            "attn_implementation": backbone.attention,
            "device_map": None,
        },
        num_generations=config.group_size,
        per_device_train_batch_size=mini_batch,
        gradient_accumulation_steps=texts // mini_batch,
        num_iterations=config.passes,
        max_steps=config.steps * config.passes,
        temperature=config.temperature,
        max_completion_length=config.max_new_tokens,
        generation_kwargs={"suppress_tokens": suppress_tokens},
        loss_type="grpo",
        scale_rewards="group",
        beta=config.beta,
        epsilon=config.clip,
        use_bias_correction_kl=False,
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        weight_decay=0.0,
        logging_steps=config.passes,
        report_to="none",
    )


def _unwritable(generator: Path, processor: Any) -> list[int]:
    """Special tokens other than those that end a text."""
    tokenizer = processor.tokenizer
    ends = GenerationConfig.from_pretrained(generator).eos_token_id
    return sorted(
        {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
        - set(ends if isinstance(ends, list) else [ends])
        - {tokenizer.eos_token_id, tokenizer.pad_token_id}
    )


def _history(log: Sequence[dict[str, Any]], config: RefinementConfig) -> pd.DataFrame:
    rows = [
        {
            "step": entry["step"] // config.passes,
            **{ours: entry[theirs] for theirs, ours in HISTORY.items() if theirs in entry},
        }
        for entry in log
        if "reward" in entry
    ]
    return pd.DataFrame(rows)


def _summary(history: pd.DataFrame, queries: Sequence[str], listings: pd.DataFrame) -> dict[str, float]:
    window = max(1, len(history) // 10)
    summary = {"queries": float(len(queries)), "gallery": float(len(listings))}
    for name in ("reward", "frac_reward_zero_std", "share_invalid", "mean_tokens", "mean_characters"):
        summary[f"{name}_first"] = float(history[name].iloc[:window].mean())
        summary[f"{name}_last"] = float(history[name].iloc[-window:].mean())
    if "kl" in history:
        summary["kl_last"] = float(history["kl"].iloc[-window:].mean())
    summary["seconds_per_step"] = float(history["seconds"].mean())
    return summary
