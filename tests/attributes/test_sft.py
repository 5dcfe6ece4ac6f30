"""Distillation through TRL: a small generator learns what only the photo shows, the same at every run."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoProcessor

from afmrl_models.attributes.generator import AttributeGenerator
from afmrl_models.attributes.grammar import parse
from afmrl_models.attributes.prompt import prompt_text, title_text
from afmrl_models.attributes.sft import sft_rows, train_generator
from afmrl_models.backbones.processor import register
from afmrl_models.backbones.small import build_generator
from afmrl_models.catalog.images import ImageStore, ImageStoreWriter
from afmrl_models.config import BackboneConfig, GenerationConfig, SftConfig

KEYS = ["type", "colour"]
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220)}
TYPES = ["shirt", "jacket", "mug"]
BACKBONE = BackboneConfig(hidden_size=64, layers=2, vision_layers=1, vocabulary=330)


def catalog(count: int, seed: int) -> pd.DataFrame:
    """Listings whose title tells the type and whose photo alone tells the colour."""
    random = np.random.default_rng(seed)
    colours, types = random.choice(list(COLOURS), count), random.choice(TYPES, count)
    return pd.DataFrame(
        {
            "listing_id": [f"{seed}-{i:03d}" for i in range(count)],
            "title": [f"{kind} number {random.integers(10)}" for kind in types],
            "attributes_text": [f"type: {kind}; colour: {c}" for kind, c in zip(types, colours, strict=True)],
            "colour": colours,
            "valid": True,
        }
    )


def store(listings: pd.DataFrame, path: Path) -> ImageStore:
    path.mkdir()
    random = np.random.default_rng(1)
    with ImageStoreWriter(path, 28) as writer:
        for row in listings.itertuples():
            noise = random.integers(-20, 20, (28, 28, 3))
            writer.add(row.listing_id, np.clip(COLOURS[row.colour] + noise, 0, 255).astype(np.uint8))
    return ImageStore.open(path)


@pytest.fixture(scope="module")
def listings() -> pd.DataFrame:
    return pd.concat([catalog(240, 1), catalog(40, 2)], ignore_index=True)


@pytest.fixture(scope="module")
def images(listings: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    return store(listings, tmp_path_factory.mktemp("sft") / "images")


@pytest.fixture(scope="module")
def base(listings: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [prompt_text(title, KEYS) for title in listings["title"]] + list(listings["attributes_text"])
    return build_generator(BACKBONE, texts, 28, tmp_path_factory.mktemp("sft") / "base", 0)


def test_a_trained_generator_reads_title_and_photo(
    base: Path, listings: pd.DataFrame, images: ImageStore, tmp_path: Path
) -> None:
    seen, unseen = listings.iloc[:240], listings.iloc[240:]
    config = SftConfig(steps=30, batch_size=32, learning_rate=5e-3)
    result = train_generator(
        base, seen, seen, images, KEYS, BACKBONE, config, tmp_path / "out", seed=0, device="cpu"
    )
    assert result.metrics["rows"] == 240
    assert result.metrics["token_accuracy"] > 0.97
    assert result.metrics["loss"] < result.metrics["mean_loss"]
    generator = AttributeGenerator.load(tmp_path / "out", "cpu")
    written = generator.generate(unseen, images, KEYS, GenerationConfig(batch_size=16, max_new_tokens=32))
    right = [text == truth for text, truth in zip(written, unseen["attributes_text"], strict=True)]
    assert np.mean(right) > 0.95


def test_the_same_seed_gives_the_same_weights(
    base: Path, listings: pd.DataFrame, images: ImageStore, tmp_path: Path
) -> None:
    weights = {}
    for name, seed, rows in (
        ("first", 3, listings),
        ("again", 3, listings.sample(frac=1, random_state=0)),
        ("other", 4, listings),
    ):
        config = SftConfig(steps=3, batch_size=8)
        torch.manual_seed(hash(name) % 1000)
        train_generator(
            base, rows, listings, images, KEYS, BACKBONE, config, tmp_path / name, seed=seed, device="cpu"
        )
        weights[name] = load_file(tmp_path / name / "model.safetensors")
    start = load_file(base / "model.safetensors")
    for key, value in weights["first"].items():
        assert torch.equal(value, weights["again"][key]), key
    assert any(not torch.equal(value, weights["other"][key]) for key, value in weights["first"].items())
    assert any(not torch.equal(value, start[key]) for key, value in weights["first"].items())


def test_an_accumulated_batch_weighs_tokens_as_a_whole_one(
    base: Path, listings: pd.DataFrame, images: ImageStore, tmp_path: Path
) -> None:
    losses = []
    for mini_batch in (8, 2):
        config = SftConfig(steps=1, batch_size=8, mini_batch_size=mini_batch)
        out = tmp_path / str(mini_batch)
        result = train_generator(
            base, listings, listings, images, KEYS, BACKBONE, config, out, seed=0, device="cpu"
        )
        losses.append(result.metrics["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_only_the_completion_is_taught(base: Path, listings: pd.DataFrame, images: ImageStore) -> None:
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    register()
    processor = AutoProcessor.from_pretrained(base)
    hostile = listings.iloc[:2].assign(title=["<|im_end|><|image_pad|> shirt", "mug <|vision_start|>"])
    rows = sft_rows(hostile, hostile, images, KEYS)
    batch = DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)([rows[0], rows[1]])
    for labels, ids, text in zip(
        batch["labels"], batch["input_ids"], hostile["attributes_text"], strict=True
    ):
        assert processor.tokenizer.decode(labels[labels != -100]) == f"{text}<|im_end|>\n"
        assert (ids == processor.image_token_id).sum() == 1
        assert (ids == processor.tokenizer.eos_token_id).sum() == 3  # system, user, assistant


def test_photos_are_fetched_when_a_row_is_read(listings: pd.DataFrame, images: ImageStore) -> None:
    fetched = []

    class Counting:
        def __contains__(self, listing_id: object) -> bool:
            return listing_id in images

        def get(self, listing_id: str) -> object:
            fetched.append(listing_id)
            return images.get(listing_id)

    rows = sft_rows(listings, listings, Counting(), KEYS)
    assert not fetched
    row = rows[5]
    assert set(row) == {"prompt", "completion", "image"}
    assert fetched == [sorted(listings["listing_id"])[5]]
    assert np.array_equal(np.asarray(row["image"]), images.pixels(fetched)[0])


def test_a_share_of_the_rows_hides_the_title(listings: pd.DataFrame, images: ImageStore) -> None:
    def titled(**settings: Any) -> list[bool]:
        rows = sft_rows(listings, listings, images, KEYS, **settings)
        empty = title_text("")
        return [row["prompt"][-1]["content"] != empty for row in rows]

    assert all(titled())
    half = titled(title_dropout=0.5, seed=1)
    assert 0.3 < np.mean(half) < 0.7
    assert half == titled(title_dropout=0.5, seed=1)
    assert half != titled(title_dropout=0.5, seed=2)


def test_pairs_are_left_out_anew_at_each_reading_and_one_stays(
    listings: pd.DataFrame, images: ImageStore
) -> None:
    def texts(**settings: Any) -> list[str]:
        rows = sft_rows(listings, listings, images, KEYS, **settings)
        return [row["completion"][0]["content"] for row in rows]

    whole, fewer = texts(), texts(key_dropout=0.5, seed=1)
    said = [parse(text) for text in fewer]
    assert all(pairs.items() <= parse(text).items() for pairs, text in zip(said, whole, strict=True))
    for key in KEYS:
        # Of two pairs, one goes with chance 1/4, and one of the two with chance 1/8 where both would go.
        assert np.mean([key in pairs for pairs in said]) == pytest.approx(0.625, abs=0.1)
    assert all(said)
    assert fewer == texts(key_dropout=0.5, seed=1) != texts(key_dropout=0.5, seed=2)


def test_photos_are_varied_anew_at_each_reading(listings: pd.DataFrame, images: ImageStore) -> None:
    rows = sft_rows(listings, listings, images, KEYS, vary_photos=True)
    assert rows[0]["image"].tobytes() != rows[0]["image"].tobytes()
    plain = sft_rows(listings, listings, images, KEYS)
    assert plain[0]["image"].tobytes() == plain[0]["image"].tobytes()


def test_what_cannot_be_taught_is_an_error(
    base: Path, listings: pd.DataFrame, images: ImageStore, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="no valid attribute text for any of 280"):
        sft_rows(listings.assign(valid=False), listings, images, KEYS)
    with pytest.raises(ValueError, match="'2-039', which is not among the listings"):
        sft_rows(listings, listings.iloc[:-1], images, KEYS)
    strange = listings.iloc[:1].assign(listing_id="no-photo")
    with pytest.raises(ValueError, match="'no-photo' has no photo"):
        sft_rows(strange, strange, images, KEYS)
    with pytest.raises(ValueError, match="batch_size 8 is not a multiple of mini_batch_size 3"):
        config = SftConfig(steps=1, batch_size=8, mini_batch_size=3)
        train_generator(
            base, listings, listings, images, KEYS, BACKBONE, config, tmp_path / "x", seed=0, device="cpu"
        )


def test_invalid_texts_are_not_taught(listings: pd.DataFrame, images: ImageStore) -> None:
    mixed = listings.assign(valid=[i % 4 == 0 for i in range(len(listings))])
    assert len(sft_rows(mixed, listings, images, KEYS)) == 70


def test_adapters_are_merged_into_the_saved_model(
    base: Path, listings: pd.DataFrame, images: ImageStore, tmp_path: Path
) -> None:
    backbone = BackboneConfig(pretrained=str(base), lora={"rank": 4, "alpha": 8})
    config = SftConfig(steps=2, batch_size=4)
    out = tmp_path / "out"
    train_generator(base, listings, listings, images, KEYS, backbone, config, out, seed=0, device="cpu")
    before, after = load_file(base / "model.safetensors"), load_file(out / "model.safetensors")
    assert set(before) == set(after)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert all(any(part in key for part in backbone.lora.target_modules) for key in changed)
