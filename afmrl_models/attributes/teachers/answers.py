"""Reading a large model's answer as an attribute text."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from afmrl_models.attributes.grammar import AttributeTextError, clean, parse, render

_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"^\s*```.*$", re.MULTILINE)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_COMMA_BEFORE_KEY = re.compile(r",\s+(?=[^,:;\n]{1,40}:\s)")


@dataclass(frozen=True)
class Answer:
    """An attribute text and what it says; `attributes` is None if the text is not one."""

    text: str
    attributes: dict[str, str] | None


def answer_of(attributes: dict[str, str]) -> Answer:
    """The answer that states cleaned attributes; none at all is an invalid answer with an empty text."""
    return Answer(render(attributes), attributes) if attributes else Answer("", None)


def read_answer(raw: str, keys: Sequence[str]) -> Answer:
    """Read what a model answered; keep only `keys`, in their order (no keys: all).

    An answer in the grammar is taken as is. Otherwise these habits are forgiven, and nothing else: thoughts
    in `<think>` before it, code fences, a JSON object, one pair a line or pairs joined by `,`, bullets
    and numbers before a pair, `**` and backticks around parts, capitals in keys, no space after `:`, pieces
    without `:` (they are dropped), whatever `grammar.clean` mends. If no pair is left the answer is invalid
    and keeps its raw text.
    """
    try:
        pairs: dict[str, object] = dict(parse(raw))
    except AttributeTextError:
        pairs = _forgiving(raw)
    attributes = clean(pairs, keys=keys or None)
    return answer_of(attributes) if attributes else Answer(_storable(raw), None)


def _forgiving(raw: str) -> dict[str, object]:
    text = _FENCE.sub("", _THOUGHT.sub("", raw)).strip()
    if text.startswith("{"):
        try:
            stated = json.loads(text)
        except json.JSONDecodeError:
            return {}
        return {key: value for key, value in stated.items() if isinstance(value, str | int | float)}
    pairs: dict[str, object] = {}
    for line in re.split(r"[;\n]", text.replace("：", ": ").replace("；", ";")):
        for piece in _COMMA_BEFORE_KEY.split(line):
            key, separator, value = re.sub(r"\*\*|`", "", _BULLET.sub("", piece)).partition(":")
            if separator and value.strip():
                pairs.setdefault(key.strip(), value.strip())
    return pairs


def _storable(raw: str) -> str:
    """Without lone surrogates, which no Parquet file can hold."""
    return raw.encode("utf-8", "replace").decode("utf-8")
