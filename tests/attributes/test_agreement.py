"""Written attributes against stated ones, counted by hand."""

import pandas as pd
import pytest

from afmrl_models.attributes.agreement import agreement, changes, exact_match, lengths

KEYS = ["colour", "size", "brand"]


def table(*pairs: dict[str, str] | None, first: int = 0) -> pd.DataFrame:
    texts = ["; ".join(f"{k}: {v}" for k, v in p.items()) if p else "red red" for p in pairs]
    return pd.DataFrame(
        {
            "listing_id": [f"l{number}" for number in range(first, first + len(pairs))],
            "attributes": pd.Series(list(pairs), dtype=object),
            "attributes_text": texts,
            "valid": [p is not None for p in pairs],
        }
    )


WRITTEN = table({"colour": "red", "size": "s"}, {"colour": "Blue"}, None, {"colour": "red"})
STATED = table({"Colour": "Red"}, {"colour": "green", "size": "m"}, {"colour": "red"}, None)


def test_values_are_right_but_for_case() -> None:
    colour, size, brand = agreement(WRITTEN, STATED, KEYS).to_dict("records")
    assert colour == {
        "key": "colour", "stated": 3, "written": 3, "accuracy": 1 / 2, "precision": pytest.approx(1 / 3),
        "recall": pytest.approx(1 / 3), "said": 3 / 4, "distinct": 2,
    }  # fmt: skip
    assert (size["stated"], size["written"], size["precision"], size["recall"]) == (1, 1, 0.0, 0.0)
    assert pd.isna(size["accuracy"]), "no listing has both"
    assert brand["stated"] == 0 and all(pd.isna(brand[name]) for name in ("accuracy", "precision", "recall"))


def test_only_listings_of_both_tables_count() -> None:
    frame = agreement(WRITTEN, table({"colour": "red"}, first=3), KEYS)
    assert frame["stated"].tolist() == [1, 0, 0] and frame["recall"].iloc[0] == 1.0


def test_all_keys_at_once() -> None:
    assert exact_match(WRITTEN, STATED, ["colour"]) == pytest.approx(1 / 3)
    assert exact_match(WRITTEN, STATED, KEYS) == 0.0, "a size too many is not an exact match"
    assert exact_match(WRITTEN, STATED, ["brand"]) is None


def test_lengths_of_texts() -> None:
    measured = lengths(WRITTEN)
    assert measured["texts"] == 4 and measured["valid"] == 0.75
    assert measured["pairs"] == pytest.approx(4 / 3)
    assert measured["characters"] == WRITTEN["attributes_text"].map(len).mean()
    assert lengths(table(None))["pairs"] == 0.0


def test_what_was_added_dropped_and_changed() -> None:
    before = table({"colour": "red"}, {"colour": "red", "size": "m"}, {"size": "l"}, {"size": "s"})
    after = table({"colour": "blue"}, {"colour": "blue"}, {"size": "l"}, None)
    assert changes(before, after).values.tolist() == [
        ["changed", "colour", "red", "blue", 2],
        ["dropped", "size", "m", None, 1],
        ["dropped", "size", "s", None, 1],
    ]
    assert changes(table(None), table({"size": "m"})).values.tolist() == [["added", "size", None, "m", 1]]
    assert changes(before, before).empty
