"""The teacher that needs no model: what sellers state, cleaned by agreement within a product."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from afmrl_models.attributes.grammar import MAX_PAIRS, normalise_key, normalise_value
from afmrl_models.attributes.teachers.answers import answer_of
from afmrl_models.attributes.teachers.teacher import attributes_table
from afmrl_models.catalog.images import ImageStore


class CatalogTeacher:
    """States for every listing, per key, the value most of its product's listings state.

    - Values are compared without regard to case and spelled as most state them (ties: the lexicographically
      first spelling).
    - A tie between values goes to the one the listing itself states, else to the lexicographically first.
    - A listing without a product id is a product of its own.
    - Only the listings handed over have a say. A listing about whose product nobody states anything is an
      invalid row with an empty text.
    """

    version = "teacher:catalog"

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = list(keys)

    def write(
        self, listings: pd.DataFrame, images: ImageStore, progress: bool = False, kept: Path | None = None
    ) -> pd.DataFrame:
        """See `Teacher.write`; the photos are not looked at, and nothing is kept."""
        keys = self.keys or catalog_keys(listings)
        stated = [_stated(attributes) for attributes in listings["attributes"]]
        members: dict[tuple[str, object], list[int]] = {}
        for position, product in enumerate(listings["product_id"]):
            members.setdefault(
                ("listing", position) if pd.isna(product) else ("product", product), []
            ).append(position)
        answers = [answer_of({})] * len(stated)
        for positions in members.values():
            votes = {
                key: _Votes([stated[p][key] for p in positions if key in stated[p]]) for key in _spelled(keys)
            }
            for position in positions:
                chosen = {key: vote.value(stated[position].get(key)) for key, vote in votes.items() if vote}
                answers[position] = answer_of(dict(list(chosen.items())[:MAX_PAIRS]))
        return attributes_table(listings, answers, self.version)


def catalog_keys(listings: pd.DataFrame, limit: int = MAX_PAIRS) -> list[str]:
    """The keys sellers state, those stated by most listings first (ties: lexicographic), at most `limit`.

    A catalog in which nobody states anything has none: [].
    """
    counts = Counter(key for attributes in listings["attributes"] for key in _stated(attributes))
    return sorted(counts, key=lambda key: (-counts[key], key))[:limit]


class _Votes:
    """The values one product's listings state for one key."""

    def __init__(self, values: list[str]) -> None:
        spellings: dict[str, Counter[str]] = {}
        for value in values:
            spellings.setdefault(value.casefold(), Counter())[value] += 1
        self._spelling = {
            folded: min(counter, key=lambda value: (-counter[value], value))
            for folded, counter in spellings.items()
        }
        most = max((counter.total() for counter in spellings.values()), default=0)
        self._winners = sorted(folded for folded, counter in spellings.items() if counter.total() == most)

    def __bool__(self) -> bool:
        return bool(self._winners)

    def value(self, own: str | None) -> str:
        folded = own.casefold() if own is not None else None
        return self._spelling[folded if folded in self._winners else self._winners[0]]


def _stated(attributes: object) -> dict[str, str]:
    """Every pair a seller states, normalised; unlike `clean`, however many there are."""
    pairs: dict[str, str] = {}
    for raw_key, raw_value in attributes.items() if isinstance(attributes, Mapping) else ():
        key, value = normalise_key(raw_key), normalise_value(raw_value)
        if key and value:
            pairs.setdefault(key, value)
    return pairs


def _spelled(keys: Sequence[str]) -> list[str]:
    return [key for key in dict.fromkeys(map(normalise_key, keys)) if key]
