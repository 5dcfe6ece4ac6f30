"""Small random-weight Qwen-VL models with their own tokenizer, for machines without a hub.

They are saved as ordinary checkpoint directories; nothing that loads them can tell. Two differences from the
hub's: the chat template puts no default system message in front (it would lengthen every sequence and teach a
model trained from scratch nothing), and every photo is resized to one area.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForImageTextToText,
    GenerationConfig,
    Qwen2_5_VLConfig,
    Qwen2Tokenizer,
    Qwen2VLConfig,
)

from afmrl_models.backbones.checkpoint import save_checkpoint
from afmrl_models.backbones.processor import MERGE_SIZE, PATCH_SIZE, TEMPORAL_PATCH_SIZE, new_processor
from afmrl_models.backbones.tokenizer import train_tokenizer
from afmrl_models.config import BackboneConfig

logger = logging.getLogger(__name__)

CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja")
MAX_POSITIONS = 32768


def build_embedder(
    config: BackboneConfig, texts: Iterable[str], image_size: int, out: Path, seed: int
) -> Path:
    """Build a small random-weight Qwen2-VL in directory `out` and return it; replaces what was there.

    texts: titles and attribute texts of the training split, for the tokenizer. image_size: edge of the photos
    in pixels; each becomes (image_size / 28)² image tokens. The same arguments give the same weights and
    tokenizer.
    """
    tokenizer = train_tokenizer(texts, config.vocabulary)
    vision = {
        "depth": config.vision_layers,
        "embed_dim": config.hidden_size,
        "hidden_size": config.hidden_size,
        "num_heads": _heads(config.hidden_size),
        "mlp_ratio": 4,
        **_patches(config),
    }
    settings = Qwen2VLConfig(
        text_config=_text(config, tokenizer), vision_config=vision, **token_ids(tokenizer)
    )
    return save_random(settings, tokenizer, image_size, out, seed)


def build_generator(
    config: BackboneConfig, texts: Iterable[str], image_size: int, out: Path, seed: int
) -> Path:
    """Build a small random-weight Qwen2.5-VL in directory `out`; as `build_embedder`.

    texts: prompts (titles among them) and attribute texts of the training split.
    """
    tokenizer = train_tokenizer(texts, config.vocabulary)
    vision = {
        "depth": config.vision_layers,
        "hidden_size": config.hidden_size,
        "intermediate_size": 3 * config.hidden_size,
        "out_hidden_size": config.hidden_size,
        "num_heads": _heads(config.hidden_size),
        "fullatt_block_indexes": [config.vision_layers - 1],
        **_patches(config),
    }
    settings = Qwen2_5_VLConfig(
        text_config=_text(config, tokenizer), vision_config=vision, **token_ids(tokenizer)
    )
    return save_random(settings, tokenizer, image_size, out, seed)


def _heads(hidden_size: int) -> int:
    """Heads of 32 dimensions where they divide the width into at least two, else of 16."""
    return hidden_size // 32 if hidden_size % 32 == 0 and hidden_size >= 64 else hidden_size // 16


def _initializer_range(config: BackboneConfig) -> float:
    """1 / sqrt(width): activations keep their size from layer to layer.

    The hub's 0.02 is that of a width of 2,500; at 128 it leaves attention flat, and a generator then writes
    the most frequent values, whatever the listing, for two or three times as many steps.
    """
    return config.hidden_size**-0.5


def _patches(config: BackboneConfig) -> dict[str, Any]:
    return {
        "patch_size": PATCH_SIZE,
        "spatial_merge_size": MERGE_SIZE,
        "temporal_patch_size": TEMPORAL_PATCH_SIZE,
        "initializer_range": _initializer_range(config),
    }


def _text(config: BackboneConfig, tokenizer: Qwen2Tokenizer) -> dict[str, Any]:
    heads = _heads(config.hidden_size)
    half = config.hidden_size // heads // 2
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": config.hidden_size,
        "intermediate_size": 3 * config.hidden_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "max_position_embeddings": MAX_POSITIONS,
        "max_window_layers": config.layers,
        "initializer_range": _initializer_range(config),
        # Time, height and width share the rotary frequencies 1 : 1.5 : 1.5, as in the hub's models (16, 24,
        # 24).
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [half - 2 * (3 * half // 8), 3 * half // 8, 3 * half // 8],
        },
        "bos_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def token_ids(tokenizer: Qwen2Tokenizer) -> dict[str, Any]:
    """What a Qwen-VL's configuration says of the tokenizer's special tokens."""
    names = {
        "image": "image_pad",
        "video": "video_pad",
        "vision_start": "vision_start",
        "vision_end": "vision_end",
    }
    ids = {f"{key}_token_id": tokenizer.convert_tokens_to_ids(f"<|{name}|>") for key, name in names.items()}
    return {**ids, "tie_word_embeddings": True}


def save_random(
    settings: Qwen2VLConfig | Qwen2_5_VLConfig,
    tokenizer: Qwen2Tokenizer,
    image_size: int,
    out: Path,
    seed: int,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Save a Qwen-VL of these settings with random weights, and its processor, in directory `out`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(settings, dtype=dtype)
    model.generation_config = GenerationConfig(
        do_sample=False,
        bos_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        eos_token_id=[tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|endoftext|>")],
        pad_token_id=tokenizer.pad_token_id,
    )
    processor = new_processor(
        settings.model_type, tokenizer, image_size, CHAT_TEMPLATE.read_text(encoding="utf-8").rstrip("\n")
    )
    save_checkpoint(model, processor, out)
    logger.info(
        "built a %s of %.2f M parameters in %s", settings.model_type, model.num_parameters() / 1e6, out
    )
    return out
