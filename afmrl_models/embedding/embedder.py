"""The embedder: a sentence-transformers model over a Qwen2-VL, and how it embeds listings."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from peft import PeftModel, get_peft_model
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tqdm.auto import tqdm

from afmrl_models.backbones.adapters import lora_config
from afmrl_models.backbones.processor import register
from afmrl_models.catalog.images import ImageStore
from afmrl_models.config import BackboneConfig, Modality
from afmrl_models.embedding.inputs import embedder_input, listing_text

# Padding on the right leaves every position, and so every vector, as it is without padding. Texts are cut by
# characters before (inputs.py): cutting tokens here could cut the placeholders of a photo.
PROCESSING = {"text": {"padding": True, "padding_side": "right", "truncation": False}}


def new_embedder(base: Path, backbone: BackboneConfig, device: str) -> SentenceTransformer:
    """An embedder to be trained: Qwen2-VL, last-token pooling, unit length.

    base: a checkpoint directory, or an embedder saved before, which is continued. With `backbone.lora` the
    base is frozen (in `backbone.dtype`) under new adapters; otherwise all weights train, in float32.
    """
    register()
    dtype = getattr(torch, backbone.dtype) if backbone.lora is not None else torch.float32
    model_kwargs = {"dtype": dtype, "attn_implementation": backbone.attention}
    if (base / "modules.json").is_file():
        model = SentenceTransformer(str(base), device=device, model_kwargs=model_kwargs)
    else:
        transformer = Transformer(str(base), model_kwargs=model_kwargs, processing_kwargs=PROCESSING)
        pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="lasttoken")
        model = SentenceTransformer(modules=[transformer, pooling, Normalize()], device=device)
    lora = lora_config(backbone.lora)
    if lora is not None:
        transformer = cast(Transformer, model[0])
        transformer.model = cast(Any, get_peft_model(transformer.model, lora))
    return model


def save_embedder(model: SentenceTransformer, out: Path) -> None:
    """Save as a directory that `SentenceTransformer(out)` loads, adapters merged; replaces what was there."""
    transformer = cast(Transformer, model[0])
    if isinstance(transformer.model, PeftModel):
        transformer.model = transformer.model.merge_and_unload()
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(str(partial), create_model_card=False)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)


def load_embedder(path: Path, device: str) -> SentenceTransformer:
    """Load a saved embedder for inference, in the dtype it was saved in."""
    register()
    return SentenceTransformer(str(path), device=device).eval()


def encode_listings(
    model: SentenceTransformer,
    listings: pd.DataFrame,
    images: ImageStore,
    modality: Modality,
    attributes: Mapping[str, str] | None,
    batch_size: int,
    progress: bool = False,
) -> np.ndarray:
    """Embed listings in their order: float32 (N, D), every row of unit length.

    attributes: attribute text by listing id, put after the title; listings it does not hold have none.
    """
    titles, ids = listings["title"].tolist(), listings["listing_id"].tolist()
    attributes = attributes or {}
    texts = [listing_text(title, attributes.get(id_)) for title, id_ in zip(titles, ids, strict=True)]
    vectors = np.empty((len(texts), model.get_embedding_dimension() or 0), dtype=np.float32)
    # Texts of like length share a batch: little padding. The sort is stable, so the order is defined.
    order = np.argsort([-len(text) for text in texts], kind="stable")
    starts = range(0, len(order), batch_size)
    for start in tqdm(starts, desc=f"embed {modality}", unit="batch", disable=not progress):
        rows = order[start : start + batch_size]
        inputs = [
            embedder_input(modality, images.get(ids[row]) if modality != "text" else None, texts[row])
            for row in rows
        ]
        vectors[rows] = model.encode(inputs, batch_size=batch_size, show_progress_bar=False)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors
