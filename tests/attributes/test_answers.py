"""Reading a large model's answer: what is forgiven and what is not."""

import pytest
from painted_listings import KEYS

from afmrl_models.attributes.grammar import parse
from afmrl_models.attributes.teachers.answers import read_answer


@pytest.mark.parametrize(
    ("raw", "attributes"),
    [
        ("colour: red; name: x", {"colour": "red", "name": "x"}),
        ("name: x; colour: red; other: y", {"colour": "red", "name": "x"}),
        ("```\ncolour: red\nname: x\n```", {"colour": "red", "name": "x"}),
        ("```json\n{\"colour\": \"red\", \"name\": 7, \"size\": null}\n```", {"colour": "red", "name": "7"}),
        ("Here are the attributes:\n\n- **Colour**: red\n- **Name:** `x`\n", {"colour": "red", "name": "x"}),
        ("1. Colour:red\n2) name : x", {"colour": "red", "name": "x"}),
        ("<think>name: wrong</think>colour: red", {"colour": "red"}),
        ("colour: red, name: x", {"colour": "red", "name": "x"}),
        ("Colour：红；Name：衬衫", {"colour": "红", "name": "衬衫"}),
        ("colour: not visible; name: x", {"name": "x"}),
        ("I cannot see a product in this photo.", None),
        ("{broken", None),
        ("size: L", None),
        ("", None),
    ],
)  # fmt: skip
def test_reading_answers(raw: str, attributes: dict[str, str] | None) -> None:
    answer = read_answer(raw, KEYS)
    assert answer.attributes == attributes
    assert answer.text == raw if attributes is None else parse(answer.text) == attributes


def test_without_keys_all_are_taken_and_a_broken_character_can_be_stored() -> None:
    assert read_answer("b: 1; a: 2", []).attributes == {"b": "1", "a": "2"}
    assert read_answer("\ud83d", []).text == "?"
