"""Records of what was learned from, and the leaks they betray."""

from pathlib import Path

import pandas as pd
import pytest

from afmrl_models.catalog.learned_from import LearnedFrom, leaks, read_record, summary
from afmrl_models.errors import UserError

LISTINGS = pd.DataFrame(
    {
        "listing_id": ["a1", "a2", "b1", "b2", "lone", "c1"],
        "product_id": pd.Series(["a", "a", "b", "b", None, "c"], dtype=object),
    }
)
SPLITS = pd.DataFrame(
    {
        "listing_id": LISTINGS["listing_id"],
        "split": ["train", "train", "test", "test", "validation", "train"],
    }
)


def record(folder: Path, **steps: list[str]) -> pd.DataFrame:
    seen = LearnedFrom()
    for what, ids in steps.items():
        seen.note(what, *ids)
    seen.save(folder)
    return read_record(folder)


def test_training_listings_alone_are_no_leak(tmp_path: Path) -> None:
    kept = record(tmp_path, pairs=["a1", "a2", "c1", "a1"], tokenizer=["a1"])
    assert kept.to_dict("records") == [
        {"listing_id": "a1", "what": "pairs"},
        {"listing_id": "a2", "what": "pairs"},
        {"listing_id": "c1", "what": "pairs"},
        {"listing_id": "a1", "what": "tokenizer"},
    ]
    found = leaks(kept, LISTINGS, SPLITS)
    assert found.empty
    assert summary(kept, found, LISTINGS).to_dict("records") == [
        {"what": "pairs", "listings": 3, "products": 2, "leaked": 0},
        {"what": "tokenizer", "listings": 1, "products": 1, "leaked": 0},
    ]


def test_held_out_and_unknown_listings_are_named(tmp_path: Path) -> None:
    kept = record(tmp_path, pairs=["a1", "b1", "b2", "lone"], tokenizer=["ghost"])
    found = leaks(kept, LISTINGS, SPLITS)
    assert found.to_dict("records") == [
        {"what": "pairs", "listing_id": "b1", "product_id": "b", "split": "test"},
        {"what": "pairs", "listing_id": "b2", "product_id": "b", "split": "test"},
        {"what": "pairs", "listing_id": "lone", "product_id": "lone", "split": "validation"},
        {"what": "tokenizer", "listing_id": "ghost", "product_id": "ghost", "split": "unknown"},
    ]
    assert summary(kept, found, LISTINGS)["leaked"].tolist() == [2, 1]


def test_products_are_compared_not_listings(tmp_path: Path) -> None:
    torn = SPLITS.assign(split=["train", "test", "test", "test", "validation", "train"])
    assert leaks(record(tmp_path, pairs=["a1"]), LISTINGS, torn)["split"].tolist() == ["test"]


def test_steps_add_to_one_record(tmp_path: Path) -> None:
    record(tmp_path, tokenizer=["a1"])
    assert record(tmp_path, pairs=["a2"])["what"].tolist() == ["pairs", "tokenizer"]


def test_a_step_that_saw_nothing_and_a_missing_record_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no listing was noted for pairs"):
        record(tmp_path, pairs=[])
    with pytest.raises(UserError, match=r"learned_from\.parquet is missing"):
        read_record(tmp_path)
    assert record(tmp_path).empty
    assert leaks(read_record(tmp_path), LISTINGS, SPLITS).empty
