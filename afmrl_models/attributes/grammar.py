"""The attribute text: `key: value` pairs joined by `; `. One grammar, one parser."""

from collections.abc import Mapping, Sequence

from afmrl_models.attributes.plain_text import plain_text

MAX_PAIRS = 12
MAX_KEY_CHARACTERS = 40
MAX_VALUE_CHARACTERS = 80
PLACEHOLDERS = frozenset({"", "-", "--", "?", "n/a", "na", "nan", "null", "unknown", "unspecified"}) | {
    f"not {word}" for word in ("applicable", "available", "specified", "visible")
}


class AttributeTextError(ValueError):
    """The text, or the mapping, is not an attribute text; the message says which pair and why."""


def parse(text: str) -> dict[str, str]:
    """Read an attribute text strictly; pairs keep their order, and `render(parse(text)) == text.strip()`.

    Accepted: 1 to 12 pairs `key: value` joined by `; `; keys lower-case, without `:`, none twice; values
    without `: `; neither with `;`, control characters, doubled or surrounding white space, or the start of a
    special token (a `<` that is not followed by a space). Raises AttributeTextError on anything else, empty
    text included.
    """
    stripped = text.strip()
    if not stripped:
        raise AttributeTextError("the attribute text is empty")
    pieces = stripped.split("; ")
    if len(pieces) > MAX_PAIRS:
        raise AttributeTextError(f"{len(pieces)} pairs, at most {MAX_PAIRS} are allowed")
    pairs: dict[str, str] = {}
    for number, piece in enumerate(pieces, start=1):
        key, separator, value = piece.partition(": ")
        if not separator:
            raise AttributeTextError(f"pair {number} is not `key: value`: {piece!r}")
        _demand_pair(number, key, value)
        if key in pairs:
            raise AttributeTextError(f"pair {number}: the key {key!r} appears twice")
        pairs[key] = value
    return pairs


def render(mapping: Mapping[str, str]) -> str:
    """Write a mapping as attribute text, such that `parse(render(mapping)) == mapping`.

    Raises AttributeTextError on a mapping whose text `parse` would refuse (also an empty one).
    """
    if not mapping:
        raise AttributeTextError("an attribute text needs at least one pair")
    if len(mapping) > MAX_PAIRS:
        raise AttributeTextError(f"{len(mapping)} pairs, at most {MAX_PAIRS} are allowed")
    for number, (key, value) in enumerate(mapping.items(), start=1):
        _demand_pair(number, key, value)
    return "; ".join(f"{key}: {value}" for key, value in mapping.items())


def normalise_key(key: str) -> str:
    """Return the key as the grammar spells it: lower-case, plain text, no `:` or `;`, at most 40 characters.

    Empty if nothing is left.
    """
    lowered = plain_text(plain_text(str(key)).lower())
    return plain_text(_without(lowered, ";:")[:MAX_KEY_CHARACTERS])


def normalise_value(value: object) -> str:
    """Return the value as the grammar spells it: plain text, no `;` or `: `, at most 80 characters.

    Empty if nothing is left or if it only says that nothing is known ("n/a", "-", "null", "unknown", NaN).
    """
    text = _without(plain_text("" if value is None else str(value)), ";").replace(": ", " ")
    while ": " in text:  # "a:: b" loses one colon a pass
        text = text.replace(": ", " ")
    text = plain_text(" ".join(text.split())[:MAX_VALUE_CHARACTERS])
    return "" if text.casefold() in PLACEHOLDERS else text


def clean(mapping: Mapping[str, object], keys: Sequence[str] | None = None) -> dict[str, str]:
    """Make any mapping one that `render` accepts, unless nothing is left ({}).

    Keys and values are normalised; pairs without a key or a value are dropped; of keys that become equal the
    first with a value stays. With `keys`, only those remain, in that order. The first 12 pairs stay.
    """
    pairs: dict[str, str] = {}
    for raw_key, raw_value in mapping.items():
        key, value = normalise_key(raw_key), normalise_value(raw_value)
        if key and value:
            pairs.setdefault(key, value)
    if keys is not None:
        wanted = dict.fromkeys(normalise_key(key) for key in keys)
        pairs = {key: pairs[key] for key in wanted if key in pairs}
    return dict(list(pairs.items())[:MAX_PAIRS])


def _demand_pair(number: int, key: str, value: str) -> None:
    for name, part in (("key", key), ("value", value)):
        if not part.strip():
            raise AttributeTextError(f"pair {number} has an empty {name}")
        if ";" in part:
            raise AttributeTextError(f"pair {number}: the {name} holds `;`: {part!r}")
        if part != plain_text(part):
            raise AttributeTextError(
                f"pair {number}: the {name} holds a control character, an invisible one, stray white space, "
                f"an uncomposed character or the start of a special token: {part!r}"
            )
    if key != key.lower():
        raise AttributeTextError(f"pair {number}: the key is not lower-case: {key!r}")
    if ":" in key:
        raise AttributeTextError(f"pair {number}: the key holds `:`: {key!r}")
    if ": " in value:
        raise AttributeTextError(f"pair {number}: the value holds `: `: {value!r}")


def _without(text: str, characters: str) -> str:
    return " ".join(text.translate({ord(c): " " for c in characters}).split())
