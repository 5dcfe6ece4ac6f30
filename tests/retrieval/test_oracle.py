"""The oracle's attributes: all offers of a held-out product vote, and nothing that trains can ask it."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from afmrl_models.catalog.images import ImageStore, ImageStoreWriter
from afmrl_models.retrieval.oracle import oracle_attributes

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def images(tmp_path: Path) -> ImageStore:
    with ImageStoreWriter(tmp_path, 28) as writer:
        writer.add("q", np.zeros((28, 28, 3), dtype=np.uint8))
    return ImageStore.open(tmp_path)


def catalog() -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = [
        ("q", "p1", {"colour": "red", "season": "fall"}, "test", "query"),
        ("g1", "p1", {"Colour": "Blue", "type": "shirt"}, "test", "gallery"),
        ("g2", "p1", {"colour": "blue"}, "test", "gallery"),
        ("silent", "p2", {}, "test", "query"),
        ("alone", None, {"type": "hat"}, "test", "query"),
        ("other", None, {"type": "coat"}, "test", "gallery"),
        ("v", "p3", {"type": "bag"}, "validation", "query"),
        ("t", "p4", {"type": "bag"}, "train", None),
    ]
    frame = pd.DataFrame(rows, columns=["listing_id", "product_id", "attributes", "split", "role"])
    frame["title"], frame["content_hash"] = "a thing", "0"
    return frame.drop(columns=["split", "role"]), frame[["listing_id", "split", "role"]]


def test_all_offers_of_the_product_have_a_say_and_only_the_split_is_told(images: ImageStore) -> None:
    listings, splits = catalog()
    texts = oracle_attributes(listings, splits, images, ["type", "colour"], split="test")
    assert texts == {
        **dict.fromkeys(["q", "g1", "g2"], "type: shirt; colour: Blue"),
        "alone": "type: hat",
        "other": "type: coat",
    }
    assert oracle_attributes(listings, splits, images, ["type"], split="validation") == {"v": "type: bag"}


def test_where_nobody_states_anything_there_is_no_truth(images: ImageStore) -> None:
    listings, splits = catalog()
    assert oracle_attributes(listings, splits, images, ["brand"], split="test") == {}
    assert oracle_attributes(listings, splits, images, [], split="test") == {}


def test_only_evaluations_can_ask_the_oracle() -> None:
    sources = [path for room in ("afmrl_models", "afmrl_dagster") for path in (ROOT / room).rglob("*.py")]
    askers = {
        path.relative_to(ROOT).as_posix()
        for path in sources
        if re.search(r"retrieval[. ]+(import +)?oracle|oracle_attributes", path.read_text(encoding="utf-8"))
    }
    assert askers == {
        "afmrl_models/retrieval/oracle.py",
        "afmrl_dagster/defs/rounds/evaluations.py",
        "afmrl_dagster/defs/release/generator_quality.py",
    }
