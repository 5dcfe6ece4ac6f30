"""The mugs' listings and photos, a small embedder, and a generator that knows the form of the text."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from mugs import BACKBONE, COLOURS, KEYS, TRAP, attributes_text
from noise_photos import noise_photos
from transformers import AutoModelForImageTextToText, AutoProcessor

from afmrl_models.attributes.prompt import messages, prompt_text
from afmrl_models.backbones.processor import register
from afmrl_models.backbones.small import build_embedder, build_generator
from afmrl_models.catalog.images import ImageStore
from afmrl_models.embedding.embedder import new_embedder, save_embedder


@pytest.fixture(scope="module")
def listings() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "listing_id": [f"l{row}" for row in range(13)],
            "product_id": [f"p{row // 2}" for row in range(12)] + [None],
            "title": [TRAP, *(f"{COLOURS[row % 4]} mug" for row in range(1, 13))],
            "category": "mugs",
        }
    )


@pytest.fixture(scope="module")
def images(listings: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    return noise_photos(tmp_path_factory.mktemp("images"), listings["listing_id"])


@pytest.fixture(scope="module")
def embedder(listings: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embedder")
    base = build_embedder(BACKBONE, [*listings["title"], attributes_text(0)], 28, folder / "base", seed=0)
    save_embedder(new_embedder(base, BACKBONE, "cpu"), folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def generator(listings: pd.DataFrame, images: ImageStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that has learnt the form of the text, by a plain loop."""
    path = tmp_path_factory.mktemp("generator") / "model"
    texts = [attributes_text(row) for row in range(12)]
    build_generator(BACKBONE, [prompt_text(t, KEYS) for t in listings["title"]] + texts, 28, path, seed=0)
    register()
    processor = AutoProcessor.from_pretrained(path)
    model = AutoModelForImageTextToText.from_pretrained(path)
    prompts = [
        processor.apply_chat_template(messages(title, KEYS), add_generation_prompt=True)
        for title in listings["title"][:12]
    ]
    inputs = processor(
        text=[prompt + text + "<|im_end|>" for prompt, text in zip(prompts, texts, strict=True)],
        images=[images.get(listing_id) for listing_id in listings["listing_id"][:12]],
        padding=True,
        padding_side="right",
        return_tensors="pt",
    )
    answers = processor.tokenizer([t + "<|im_end|>" for t in texts])["input_ids"]
    labels = torch.full_like(inputs["input_ids"], -100)
    for row, (length, answer) in enumerate(
        zip(inputs["attention_mask"].sum(1).tolist(), answers, strict=True)
    ):
        labels[row, length - len(answer) : length] = inputs["input_ids"][row, length - len(answer) : length]
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(80):
        loss = model(**inputs, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(path)
    return path
