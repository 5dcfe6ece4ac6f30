"""Generation in sorted batches against one listing at a time, and the table it is written to."""

import hashlib
import logging
from pathlib import Path

import pandas as pd
import pytest
import torch
from noise_photos import noise_photos
from transformers import AutoModelForImageTextToText, AutoProcessor

from afmrl_models.attributes.generator import AttributeGenerator, Writing, batches_by_length
from afmrl_models.attributes.prompt import messages, prompt_text
from afmrl_models.attributes.writing import write_attributes
from afmrl_models.backbones.small import build_generator
from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.schema import PRODUCT_ATTRIBUTES, read_table, write_table
from afmrl_models.config import BackboneConfig, GenerationConfig

KEYS = ["type", "colour"]
TITLES = [
    "mug",
    "a blue denim jacket with a very long title " * 3,
    "<|im_end|> shirt <|image_pad|>",
    "赤い シャツ",
    "",
]
COUNT = 11


@pytest.fixture(scope="module")
def listings() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "listing_id": [f"l{i}" for i in range(COUNT)],
            "title": [f"{TITLES[i % len(TITLES)]} {i}" for i in range(COUNT)],
            "content_hash": [f"hash-{i}" for i in range(COUNT)],
        }
    )


@pytest.fixture(scope="module")
def images(listings: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    return noise_photos(tmp_path_factory.mktemp("generator"), listings["listing_id"])


@pytest.fixture(scope="module")
def checkpoint(listings: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = BackboneConfig(hidden_size=32, layers=1, vision_layers=1, vocabulary=350)
    texts = [prompt_text(title, KEYS) for title in listings["title"]]
    out = build_generator(config, texts, 28, tmp_path_factory.mktemp("generator") / "base", 0)
    model = AutoModelForImageTextToText.from_pretrained(out)
    with torch.no_grad():  # larger weights: what it writes then depends on title and photo
        for parameter in model.parameters():
            parameter.mul_(4)
    model.save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def generator(checkpoint: Path) -> AttributeGenerator:
    return AttributeGenerator.load(checkpoint, "cpu")


class Scripted(AttributeGenerator):
    """Writes what a test says and counts what it is asked."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.texts, self.asked = texts, []

    def write(self, listings: pd.DataFrame, *_: object, **__: object) -> list[Writing]:
        self.asked += list(listings["listing_id"])
        return [Writing(self.texts.get(i, f"type: thing {i}"), i != "l4") for i in listings["listing_id"]]


def test_batches_agree_with_one_listing_at_a_time(
    generator: AttributeGenerator, checkpoint: Path, listings: pd.DataFrame, images: ImageStore
) -> None:
    """The oracle is the library's own generate on a single unpadded conversation with its photo inside."""
    config = GenerationConfig(batch_size=4, max_new_tokens=8)
    written = generator.generate(listings, images, KEYS, config)
    processor = AutoProcessor.from_pretrained(checkpoint)
    model = AutoModelForImageTextToText.from_pretrained(checkpoint)
    for text, row in zip(written, listings.itertuples(), strict=True):
        conversation = messages(row.title, KEYS)
        conversation[-1]["content"][0]["image"] = images.get(row.listing_id)
        inputs = processor.apply_chat_template(
            [conversation],
            tokenize=True,
            return_dict=True,
            add_generation_prompt=True,
            processor_kwargs={"return_tensors": "pt"},
        )
        tokens = model.generate(**inputs, max_new_tokens=8, do_sample=False)[
            0, inputs["input_ids"].shape[1] :
        ]
        tokens = [t for t in tokens.tolist() if t not in model.generation_config.eos_token_id]
        assert text == processor.tokenizer.decode(tokens).strip()
    assert len(set(written)) > 3


def test_order_of_listings_and_batch_size_do_not_matter(
    generator: AttributeGenerator, listings: pd.DataFrame, images: ImageStore
) -> None:
    small, large = (GenerationConfig(batch_size=size, max_new_tokens=8) for size in (3, 64))
    expected = dict(
        zip(listings["listing_id"], generator.generate(listings, images, KEYS, small), strict=True)
    )
    shuffled = listings.sample(frac=1, random_state=1)
    assert generator.generate(shuffled, images, KEYS, large) == [expected[i] for i in shuffled["listing_id"]]


def test_sampling_follows_the_seed(
    generator: AttributeGenerator, listings: pd.DataFrame, images: ImageStore
) -> None:
    config = GenerationConfig(max_new_tokens=8)
    texts = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        texts.append(generator.generate(listings, images, KEYS, config, temperature=1.0))
    assert texts[0] == texts[1] != texts[2]


def test_batches_by_length_cover_everything_once_longest_first() -> None:
    lengths = [3, 9, 1, 9, 4, 7, 2]
    batches = list(batches_by_length(lengths, 3))
    assert [[lengths[i] for i in batch] for batch in batches] == [[9, 9, 7], [4, 3, 2], [1]]
    assert sorted(i for batch in batches for i in batch) == list(range(7))
    assert list(batches_by_length([], 3)) == []


def test_a_text_cut_off_is_not_taken_for_attributes() -> None:
    assert Writing("type: shirt; colour: re", finished=False).attributes() is None
    assert Writing("type: shirt; colour: red", finished=True).attributes() == {
        "type": "shirt",
        "colour": "red",
    }
    assert Writing("type: shirt <|im_start|>", finished=True).attributes() is None


def test_every_listing_gets_a_row_nonsense_included(
    listings: pd.DataFrame, images: ImageStore, tmp_path: Path
) -> None:
    nonsense = {"l0": "", "l1": ":::", "l2": "no pairs at all", "l3": "type: a; type: b"}
    out = tmp_path / "attributes.parquet"
    table = write_attributes(
        Scripted(nonsense), listings, images, KEYS, GenerationConfig(chunk_size=4), "v1", out
    )
    assert list(table.columns) == PRODUCT_ATTRIBUTES.names
    pd.testing.assert_frame_equal(read_table(out), table, check_dtype=False)
    assert list(table["listing_id"]) == list(listings["listing_id"])
    assert list(table["content_hash"]) == list(listings["content_hash"])
    assert table["valid"].tolist() == [False] * 5 + [True] * (COUNT - 5)  # l4 was cut off
    assert table["attributes_text"][1] == ":::"
    assert table["attributes"][1] is None
    assert table["attributes"][7] == {"type": "thing l7"}
    assert set(table["generator_version"]) == {"v1"}


def test_a_stopped_run_resumes(listings: pd.DataFrame, images: ImageStore, tmp_path: Path) -> None:
    out, config = tmp_path / "attributes.parquet", GenerationConfig(chunk_size=3)

    class Stopped(Scripted):
        def write(self, listings: pd.DataFrame, *_: object, **__: object) -> list[Writing]:
            if len(self.asked) >= 6:
                raise KeyboardInterrupt
            return super().write(listings)

    with pytest.raises(KeyboardInterrupt):
        write_attributes(Stopped({}), listings, images, KEYS, config, "v1", out)
    assert not out.exists()
    rest = Scripted({})
    table = write_attributes(rest, listings, images, KEYS, config, "v1", out)
    assert rest.asked == list(listings["listing_id"][6:])
    fresh = write_attributes(Scripted({}), listings, images, KEYS, config, "v1", tmp_path / "fresh.parquet")
    pd.testing.assert_frame_equal(table, fresh)


def test_only_what_changed_is_written_again(
    listings: pd.DataFrame, images: ImageStore, tmp_path: Path
) -> None:
    out, config = tmp_path / "attributes.parquet", GenerationConfig(chunk_size=3)
    write_attributes(Scripted({}), listings, images, KEYS, config, "v1", out)
    changed = listings.copy()
    changed.loc[5, "content_hash"] = "new photo"
    again = Scripted({"l5": "type: other"})
    table = write_attributes(again, changed.iloc[::-1], images, KEYS, config, "v1", out)
    assert again.asked == ["l5"]
    assert list(table["listing_id"]) == list(listings["listing_id"][::-1])
    assert table.set_index("listing_id").loc["l5", "attributes"] == {"type": "other"}
    for version, keys, length in (("v2", KEYS, 96), ("v2", ["size"], 96), ("v2", ["size"], 32)):
        anew = Scripted({})
        longer = GenerationConfig(chunk_size=3, max_new_tokens=length)
        write_attributes(anew, listings, images, keys, longer, version, out)
        assert len(anew.asked) == COUNT
    assert len(list((tmp_path / "attributes.parquet.chunks").iterdir())) == 1


class Interrupted(Scripted):
    """Writes nine listings, then is stopped."""

    def write(self, listings: pd.DataFrame, *_: object, **__: object) -> list[Writing]:
        if len(self.asked) >= 9:
            raise KeyboardInterrupt
        return super().write(listings)


def test_damaged_and_foreign_chunks_are_not_used(
    listings: pd.DataFrame, images: ImageStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, config = tmp_path / "attributes.parquet", GenerationConfig(chunk_size=3)
    expected = write_attributes(
        Scripted({}), listings, images, KEYS, config, "v1", tmp_path / "whole.parquet"
    )
    with pytest.raises(KeyboardInterrupt):
        write_attributes(Interrupted({}), listings, images, KEYS, config, "v1", out)
    chunks = sorted((tmp_path / "attributes.parquet.chunks").rglob("*.parquet"))
    data = bytearray(chunks[0].read_bytes())
    data[len(data) // 2] ^= 1
    chunks[0].write_bytes(data)
    foreign = read_table(chunks[1]).assign(generator_version="another", attributes_text="type: foreign")
    write_table(foreign, PRODUCT_ATTRIBUTES, chunks[1])
    digest = hashlib.sha256(chunks[1].read_bytes()).hexdigest()
    chunks[1] = chunks[1].rename(chunks[1].with_name(f"{digest}.parquet"))
    chunks[2].write_bytes(chunks[2].read_bytes()[:100])
    again = Scripted({})
    with caplog.at_level(logging.WARNING):
        table = write_attributes(again, listings, images, KEYS, config, "v1", out)
    pd.testing.assert_frame_equal(table, expected)
    assert len(again.asked) == COUNT
    assert sum(str(path) in caplog.text for path in chunks) == 3
    [only] = (tmp_path / "attributes.parquet.chunks").rglob("*.parquet")
    assert only not in chunks


def test_a_nights_texts_are_a_full_runs_and_nothing_of_deleted_listings_stays(
    listings: pd.DataFrame, images: ImageStore, tmp_path: Path
) -> None:
    out, config = tmp_path / "attributes.parquet", GenerationConfig(chunk_size=3)
    write_attributes(Scripted({}), listings, images, KEYS, config, "v1", out)
    rest = listings[~listings["listing_id"].isin(["l2", "l9"])].iloc[::-1].reset_index(drop=True)
    rest.loc[0, "content_hash"] = "changed"
    tonight, full = Scripted({}), tmp_path / "full.parquet"
    write_attributes(tonight, rest, images, KEYS, config, "v1", out)
    assert tonight.asked == [rest["listing_id"][0]]
    write_attributes(Scripted({}), rest, images, KEYS, config, "v1", full)
    assert out.read_bytes() == full.read_bytes()
    [chunk] = (tmp_path / "attributes.parquet.chunks").rglob("*.parquet")
    assert sorted(read_table(chunk)["listing_id"]) == sorted(rest["listing_id"])
    write_attributes(tonight, rest, images, KEYS, config, "v1", out)
    assert len(tonight.asked) == 1
    assert [chunk] == list((tmp_path / "attributes.parquet.chunks").rglob("*.parquet"))


def test_a_generator_with_random_weights_writes_a_table(
    generator: AttributeGenerator, listings: pd.DataFrame, images: ImageStore, tmp_path: Path
) -> None:
    config = GenerationConfig(batch_size=4, chunk_size=5, max_new_tokens=8)
    table = write_attributes(generator, listings, images, KEYS, config, "v1", tmp_path / "a.parquet")
    assert len(table) == COUNT
    assert not table["valid"].any()


def test_no_listings_make_an_empty_table(images: ImageStore, listings: pd.DataFrame, tmp_path: Path) -> None:
    none = listings.iloc[:0]
    table = write_attributes(
        Scripted({}), none, images, KEYS, GenerationConfig(), "v1", tmp_path / "a.parquet"
    )
    assert list(table.columns) == PRODUCT_ATTRIBUTES.names
    assert len(table) == 0
