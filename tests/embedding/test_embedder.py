"""The embedder as a saved model, and embedding listings with it."""

import numpy as np
import pandas as pd
import pytest
import torch
from sentence_transformers import SentenceTransformer

from afmrl_models.config import BackboneConfig, LoraSettings
from afmrl_models.embedding.embedder import encode_listings, load_embedder, new_embedder, save_embedder
from afmrl_models.embedding.inputs import (
    MAX_ATTRIBUTES_CHARACTERS,
    MAX_TITLE_CHARACTERS,
    embedder_input,
    listing_text,
)

MODALITIES = ["image", "text", "multimodal"]


@pytest.fixture(scope="module")
def model(small_catalog):
    return new_embedder(small_catalog.base, small_catalog.backbone, "cpu")


def encode(model, catalog, modality="multimodal", attributes=None, listings=None, batch_size=5):
    listings = catalog.listings if listings is None else listings
    return encode_listings(model, listings, catalog.images, modality, attributes, batch_size)


@pytest.mark.parametrize("modality", MODALITIES)
def test_vectors_do_not_depend_on_order_or_batch(model, small_catalog, modality):
    vectors = encode(model, small_catalog, modality, small_catalog.attributes)
    assert vectors.shape == (24, 32) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    order = np.random.default_rng(0).permutation(24)
    shuffled = small_catalog.listings.iloc[order]
    for size in (1, 7, 64):
        again = encode(model, small_catalog, modality, small_catalog.attributes, shuffled, size)
        np.testing.assert_allclose(again, vectors[order], atol=2e-5)
    np.testing.assert_array_equal(encode(model, small_catalog, modality, small_catalog.attributes), vectors)


def test_equals_the_librarys_own_encode(model, small_catalog):
    listings = small_catalog.listings
    inputs = [
        {"image": small_catalog.images.get(id_), "text": title}
        for id_, title in zip(listings.listing_id, listings.title, strict=True)
    ]
    np.testing.assert_allclose(encode(model, small_catalog), model.encode(inputs, batch_size=24), atol=2e-5)


def test_every_part_that_is_shown_matters(model, small_catalog):
    shown = encode(model, small_catalog)
    vectors = {
        "attributes": encode(model, small_catalog, attributes=small_catalog.attributes),
        "photo": encode(model, small_catalog, "text"),
        "title": encode(model, small_catalog, "image"),
    }
    for other in vectors.values():
        assert (np.abs(other - shown).max(axis=1) > 1e-4).all()
    texts_differ = encode(model, small_catalog, "text")
    assert len(np.unique(texts_differ.round(5), axis=0)) == 24


def test_no_listings(model, small_catalog):
    assert encode(model, small_catalog, listings=small_catalog.listings.iloc[:0]).shape == (0, 32)


@pytest.mark.parametrize(
    "title",
    [
        "",
        "mug <|im_end|> <|image_pad|><|vision_start|> <|endoftext|>",
        "x" * 10_000,
        "https://example.com/photo.jpg",
        "杯子 สีแดง マグカップ ☕️",
        "{{ messages }} {% for %}",
    ],
)
def test_any_title_is_data(model, small_catalog, title):
    other = small_catalog.listings.title[1]
    listings = pd.DataFrame({"listing_id": ["mug-red-0", "mug-red-1"], "title": [title, other]})
    for modality in ("text", "multimodal"):
        vectors = encode(model, small_catalog, modality, {"mug-red-0": "note: <|image_pad|>"}, listings)
        assert np.isfinite(vectors).all()
        plain = encode(model, small_catalog, modality)[1]
        np.testing.assert_allclose(vectors[1], plain, atol=2e-5)


def test_saved_it_is_an_ordinary_sentence_transformer(model, small_catalog, tmp_path):
    save_embedder(model, tmp_path / "embedder")
    save_embedder(model, tmp_path / "embedder")
    assert [path.name for path in tmp_path.iterdir()] == ["embedder"]
    expected = encode(model, small_catalog)
    for loaded in (
        SentenceTransformer(str(tmp_path / "embedder"), device="cpu"),
        load_embedder(tmp_path / "embedder", "cpu"),
        new_embedder(tmp_path / "embedder", small_catalog.backbone, "cpu"),
    ):
        np.testing.assert_allclose(encode(loaded, small_catalog), expected, atol=1e-6)
        padded = loaded.preprocess([{"text": "a"}, {"text": "a much longer title of a mug"}])[
            "attention_mask"
        ]
        assert padded[:, 0].all() and not padded[0, -1]


def test_adapters_train_alone_and_are_merged_when_saved(small_catalog, tmp_path):
    config = BackboneConfig(pretrained=str(small_catalog.base), lora=LoraSettings(rank=2, alpha=4))
    model = new_embedder(small_catalog.base, config, "cpu")
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert trained and all("lora_" in name for name in trained)
    before = encode(model, small_catalog)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.5, generator=torch.Generator().manual_seed(0))
    adapted = encode(model, small_catalog)
    assert np.abs(adapted - before).max() > 1e-2
    save_embedder(model, tmp_path / "merged")
    assert not list(tmp_path.rglob("adapter*"))
    loaded = SentenceTransformer(str(tmp_path / "merged"), device="cpu")
    assert not any("lora" in name for name, _ in loaded.named_parameters())
    np.testing.assert_allclose(encode(loaded, small_catalog), adapted, atol=1e-4)


def test_listing_text():
    assert listing_text("red mug") == "red mug"
    assert listing_text("red mug", "") == "red mug"
    assert listing_text("red mug", "kind: mug") == "red mug\nkind: mug"
    title, attributes = listing_text("x" * 10_000, "y" * 10_000).split("\n")
    assert len(title) == MAX_TITLE_CHARACTERS and len(attributes) == MAX_ATTRIBUTES_CHARACTERS
    assert "<|" not in listing_text("a<|im_end|>", "b: <|image_pad|>")


def test_a_missing_part_is_named():
    with pytest.raises(ValueError, match="needs an image"):
        embedder_input("multimodal", None, "red mug")
    with pytest.raises(ValueError, match="needs a text"):
        embedder_input("text", None, None)
