"""A table poisoned in one way is caught by the expectation meant for it; by which others is written down."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter

from afmrl_models.attributes.judgement import Material, is_accepted, judge
from afmrl_models.attributes.judgement.judging import EXAMPLES
from afmrl_models.config.expectations import Expectations

STEWARD = TypeAdapter(Expectations).validate_python(
    yaml.safe_load("""
- {name: rows, expect: row_count, description: d, min: 200, max: 300}
- {name: listings, expect: one_row_a_listing, description: d}
- {name: grammar, expect: texts_parse, description: d}
- {name: grammar_in_categories, expect: texts_parse_in_categories, description: d}
- {name: keys_asked_for, expect: allowed_keys, description: d}
- {name: short, expect: value_length, description: d, max: 20}
- {name: has_type, expect: required_keys, description: d, keys: [type, colour], mostly: 0.8}
- {name: mugs_have_volume, expect: required_keys, description: d, keys: [Volume], categories: [mug],
   mostly: 0.8}
- {name: taught_words, expect: vocabulary, description: d, keys: [type, colour], mostly: 0.8}
- {name: kinds, expect: vocabulary, description: d, keys: [type], values: [Mug, shirt]}
- {name: volumes, expect: measure, description: d, key: volume, units: [ml], min: 50, max: 1000}
- {name: not_one_word, expect: variety, description: d, keys: [type, colour], max_share: 0.7}
- {name: as_the_shop, expect: agrees_with_shop, description: d, split: held_out, mostly: 0.6}
- {name: as_other_offers, expect: agrees_within_product, description: d, mostly: 0.6}
- {name: no_flood, expect: new_values, description: d, keys: [type, colour]}
- {name: nothing_lost, expect: lost_values, description: d, keys: [type, colour]}
- {name: key_drift, expect: drift, of: keys, description: d, max_distance: 0.2}
- {name: value_drift, expect: drift, of: values, keys: [type, colour], description: d, max_distance: 0.2}
- {name: length_drift, expect: drift, of: text_length, description: d}
- {name: lower_case, expect: expect_column_values_to_match_regex, table: pairs, description: d,
   severity: warning, parameters: {column: key, regex: '^[a-z ]+$'}}
""")
)


def failed(material: Material) -> dict[str, pd.DataFrame]:
    verdicts = judge(STEWARD, material)
    assert [verdict.name for verdict in verdicts] == [entry.name for entry in STEWARD]
    for verdict in verdicts:
        assert len(verdict.unexpected) <= EXAMPLES
        assert all(type(value) in (int, float, str) for value in verdict.observed.values()), verdict
    return {verdict.name: verdict.unexpected for verdict in verdicts if not verdict.passed}


def nonsense(row: int, said: dict[str, str]) -> dict[str, str]:
    return said | {"colour": f"{said['colour'][::-1]}q"}


def one_value(row: int, said: dict[str, str]) -> dict[str, str]:
    return said | {"colour": "red"}


def swapped(row: int, said: dict[str, str]) -> dict[str, str]:
    return said | {"colour": said["type"], "type": said["colour"]}


def flood(row: int, said: dict[str, str]) -> dict[str, str]:
    return said | {"colour": f"shade {row}"} if row % 2 else said


def without_volume(row: int, said: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in said.items() if key != "volume"}


POISON = {
    "nonsense": (nonsense, {"taught_words", "as_the_shop", "no_flood", "nothing_lost", "value_drift",
                            "length_drift"}),
    "one value everywhere": (one_value, {"not_one_word", "as_the_shop", "nothing_lost", "value_drift",
                                         "length_drift"}),
    "empty texts": (
        lambda row, said: "",
        {
            "grammar", "grammar_in_categories", "keys_asked_for", "short", "has_type", "mugs_have_volume",
            "taught_words", "kinds", "volumes", "not_one_word", "as_the_shop", "as_other_offers", "no_flood",
            "nothing_lost", "key_drift", "value_drift", "length_drift", "lower_case",
        },
    ),
    "keys swapped": (
        swapped,
        {"taught_words", "kinds", "as_the_shop", "no_flood", "nothing_lost", "value_drift"},
    ),
    "a flood of new words": (
        flood,
        {"taught_words", "as_the_shop", "as_other_offers", "no_flood", "value_drift"},
    ),
    "a key is gone": (without_volume, {"mugs_have_volume", "volumes", "key_drift", "length_drift"}),
    "litres": (
        lambda row, said: said | ({"volume": "0.5 l"} if "volume" in said else {}),
        {"volumes", "as_the_shop", "length_drift"},
    ),
    "out of range": (lambda row, said: said | ({"volume": "5000 ml"} if "volume" in said else {}),
                     {"volumes", "as_the_shop"}),
    "essays": (
        lambda row, said: said | {"colour": said["colour"] + " as the evening sky"},
        {"short", "taught_words", "as_the_shop", "no_flood", "nothing_lost", "value_drift", "length_drift"},
    ),
    "a key nobody asked for": (lambda row, said: said | {"price 9": "9"},
                               {"keys_asked_for", "lower_case", "length_drift"}),
}  # fmt: skip


def test_the_table_of_a_fair_generator_passes(material: Callable[..., Material]) -> None:
    assert failed(material()) == {}


@pytest.mark.parametrize("name", POISON)
def test_poison_is_caught(name: str, material: Callable[..., Material], written: Callable) -> None:
    rewrite, caught = POISON[name]
    found = failed(material(written(rewrite)))
    assert set(found) == caught


def test_catalog_text_in_data_docs_is_escaped(
    material: Callable[..., Material], written: Callable, tmp_path: Path
) -> None:
    table = written()
    for row in range(0, len(table), 2):
        table.at[row, "attributes"] = {"type": "mug", "colour": "<script>alert(1)</script>"}
    verdicts = {verdict.name: verdict for verdict in judge(STEWARD, material(table), docs=tmp_path / "docs")}
    assert not verdicts["taught_words"].passed
    page = verdicts["taught_words"].page
    assert page is not None and "alert(1)" in page.read_text(encoding="utf-8")
    index = (tmp_path / "docs" / "index.html").read_text(encoding="utf-8")
    assert "//" not in index, "the first page fetches nothing from the web"
    linked = re.findall('href="([^"]+)"', index)
    assert linked and all((tmp_path / "docs" / link).is_file() for link in linked)
    assert all(name in index for name in verdicts) and "failed (critical)" in index
    inside = re.findall('href="([^"#]+)"', page.read_text(encoding="utf-8"))
    assert all((page.parent / link).is_file() for link in inside if link.endswith(".html"))
    for path in (tmp_path / "docs").rglob("*.html"):
        assert "<script>alert" not in path.read_text(encoding="utf-8"), path


def test_the_first_table_has_nothing_to_be_compared_with(material: Callable[..., Material]) -> None:
    verdicts = {verdict.name: verdict for verdict in judge(STEWARD, material(last=None))}
    assert is_accepted(list(verdicts.values()))
    for name in ("no_flood", "nothing_lost", "key_drift", "value_drift", "length_drift"):
        assert str(verdicts[name].observed["message"]).startswith("no table has been accepted yet")


def test_an_empty_table_passes_nothing(material: Callable[..., Material], written: Callable) -> None:
    assert set(failed(material(written().iloc[:0]))) == {entry.name for entry in STEWARD}


@pytest.mark.parametrize("column", ["listing_id", "attributes_text", "attributes", "valid"])
def test_a_missing_column_fails_in_words(
    column: str, material: Callable[..., Material], written: Callable
) -> None:
    verdicts = judge(STEWARD, material(written().drop(columns=column)))
    assert {str(v.observed["message"]) for v in verdicts} == {f"the table has no column '{column}'"}
    assert not any(verdict.passed for verdict in verdicts)


def test_listings_twice_or_unknown_are_shown(material: Callable[..., Material], written: Callable) -> None:
    table = written()
    table.loc[1, "listing_id"] = table.loc[0, "listing_id"]
    table.loc[2, "listing_id"] = "elsewhere"
    found = failed(material(table))
    assert {"elsewhere", table.loc[0, "listing_id"]} <= set(found["listings"]["listing_id"])


def test_a_column_that_is_not_there_fails_in_words(material: Callable[..., Material]) -> None:
    (entry,) = TypeAdapter(Expectations).validate_python(
        yaml.safe_load("""
- {name: sizes, expect: expect_column_values_to_not_be_null, table: values, description: d,
   parameters: {column: size}}
""")
    )
    (verdict,) = judge([entry], material())
    assert not verdict.passed and "size" in str(verdict.observed["message"])
