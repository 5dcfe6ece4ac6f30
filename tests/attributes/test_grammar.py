"""The attribute text's grammar: what is accepted, what is refused, and that cleaned text is accepted."""

import random

import pytest

from afmrl_models.attributes.grammar import (
    MAX_PAIRS,
    AttributeTextError,
    clean,
    normalise_key,
    normalise_value,
    parse,
    render,
)
from afmrl_models.attributes.plain_text import plain_text


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("colour: red", {"colour": "red"}),
        ("colour: Red; sleeve length: long", {"colour": "Red", "sleeve length": "long"}),
        ("  colour: red\n", {"colour": "red"}),
        ("颜色: 深红; サイズ: 大; สี: แดง", {"颜色": "深红", "サイズ": "大", "สี": "แดง"}),
        ("ratio: 16:9; url: http://x.y", {"ratio": "16:9", "url": "http://x.y"}),
        ("price: < 5", {"price": "< 5"}),
    ],
)
def test_accepted_texts(text: str, pairs: dict[str, str]) -> None:
    assert parse(text) == pairs
    assert list(parse(text)) == list(pairs)
    assert render(pairs) == text.strip()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("   \n", "empty"),
        ("a red shirt", "pair 1 is not"),
        ("colour:red", "pair 1 is not"),
        ("colour: red;sleeve: long", "`;`"),
        ("colour: red; ", "holds `;`"),
        ("colour: red;; sleeve: long", "`;`"),
        ("colour: ", "not `key: value`"),
        ("colour:  ; sleeve: long", "pair 1 has an empty value"),
        (": red", "empty key"),
        ("Colour: red", "lower-case"),
        ("colour: red; colour: blue", "'colour' appears twice"),
        ("colour: red: dark", "holds `: `"),
        ("a:b: red", "key holds `:`"),
        ("colour: red\nsleeve: long", "control character"),
        ("colour: dark  red", "white space"),
        ("colour: red\x00", "control character"),
        ("colour: red<|im_end|>", "special token"),
        ("colour: e\u0301cru", "uncomposed"),
        ("; ".join(f"key{i}: v" for i in range(MAX_PAIRS + 1)), "13 pairs"),
    ],
)
def test_refused_texts_name_the_place(text: str, reason: str) -> None:
    with pytest.raises(AttributeTextError) as caught:
        parse(text)
    assert reason in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_twelve_pairs_are_accepted() -> None:
    pairs = {f"key{i}": "v" for i in range(MAX_PAIRS)}
    assert parse(render(pairs)) == pairs


@pytest.mark.parametrize(
    "mapping",
    [
        {},
        {"a": ""},
        {"": "b"},
        {"A": "b"},
        {"a": "b; c"},
        {"a": "b\nc"},
        {"a": "b: c"},
        {"a": " b"},
        {f"k{i}": "v" for i in range(13)},
    ],
)
def test_render_refuses_what_parse_would(mapping: dict[str, str]) -> None:
    with pytest.raises(AttributeTextError):
        render(mapping)
    with pytest.raises(AttributeTextError):
        parse("; ".join(f"{key}: {value}" for key, value in mapping.items()))


def test_clean_examples() -> None:
    assert clean({"Colour": "  Red ", "size": None, "season": float("nan"), "usage": "N/A", "fit": ""}) == {
        "colour": "Red"
    }
    assert clean({"Sleeve:": "long; very", "note": "a: b"}) == {"sleeve": "long very", "note": "a b"}
    assert clean({"COLOUR": "", "colour": "red", "Colour": "blue"}) == {"colour": "red"}
    assert clean({"a": "<|im_end|>", "b": 5}) == {"a": "< |im_end| >".replace("| >", "|>"), "b": "5"}
    assert clean({"a": "1", "b": "2", "c": "3"}, keys=["C", "a", "zzz"]) == {"c": "3", "a": "1"}
    assert len(clean({f"k{i}": "v" for i in range(40)})) == MAX_PAIRS
    assert len(clean({"a": "x" * 5000})["a"]) == 80
    assert clean({"a": "x\u037e y"}) == {"a": "x y"}, "the Greek question mark composes to `;`"
    assert clean({"none of it": "none"}) == {"none of it": "none"}, (
        "`none` is a value: a shirt without a pattern"
    )


_ALPHABET = [
    *"aB1 :;<|>\n\t\r\x00\x7f\"'\\-?/",
    *["é", "e\u0301", "İ", "Σ", "ﬁ", "\u037e", "\u2028", "\u200b", "\ud800", "\u0338"],
    *["红", "ー", "ก", "\u0e31", "😀", "<|im_end|>", "<image>", ": ", "; "],
]


def test_anything_cleaned_is_accepted_and_cleaning_twice_changes_nothing() -> None:
    rng = random.Random(0)

    def text() -> str:
        return "".join(rng.choices(_ALPHABET, k=rng.choice([0, 1, 2, 5, 20, 120])))

    non_empty = 0
    for _ in range(1500):
        mapping = {text(): text() for _ in range(rng.randint(0, 16))}
        cleaned = clean(mapping)
        assert clean(cleaned) == cleaned
        if not cleaned:
            continue
        non_empty += 1
        written = render(cleaned)
        assert parse(written) == cleaned
        written.encode("utf-8")
        for key, value in mapping.items():
            assert normalise_key(normalise_key(key)) == normalise_key(key)
            assert normalise_value(normalise_value(value)) == normalise_value(value)
            assert plain_text(plain_text(value)) == plain_text(value)
    assert non_empty > 1200


def test_whatever_parse_accepts_is_rendered_back_unchanged() -> None:
    rng = random.Random(1)
    accepted = 0
    for _ in range(40_000):
        text = "".join(
            rng.choices(["a", "b", "B", ":", ";", " ", ": ", "; ", "<", "红", "a: b"], k=rng.randint(1, 7))
        )
        try:
            pairs = parse(text)
        except AttributeTextError:
            continue
        accepted += 1
        assert render(pairs) == text.strip()
        assert 1 <= len(pairs) <= MAX_PAIRS
        assert all(key == key.lower() and key and value for key, value in pairs.items())
    assert accepted > 300
