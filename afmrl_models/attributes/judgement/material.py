"""What expectations are judged on: the table, and the tables it is compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from afmrl_models.attributes.grammar import clean, normalise_key

NO_CATEGORY = "(no category)"


@dataclass(frozen=True)
class Material:
    """A PRODUCT_ATTRIBUTES table and what it is held against.

    keys: those the prompt asks for; teacher: its PRODUCT_ATTRIBUTES table of the training listings; last: the
    last accepted table, None before the first; train: ids of the training listings.
    """

    table: pd.DataFrame
    listings: pd.DataFrame
    keys: Sequence[str]
    teacher: pd.DataFrame
    last: pd.DataFrame | None = None
    train: frozenset[str] = frozenset()

    @cached_property
    def _known(self) -> pd.DataFrame:
        return self.listings.drop_duplicates("listing_id").set_index("listing_id")

    def of_listing(self, column: str, listing_ids: pd.Series) -> pd.Series:
        """A column of the listings, row for row; None where the catalog has none or does not know the id."""
        if column not in self._known:
            return pd.Series([None] * len(listing_ids), index=listing_ids.index, dtype=object)
        return listing_ids.map(self._known[column])

    def rows(self, table: pd.DataFrame, categories: Sequence[str] | None) -> pd.DataFrame:
        """The rows of a table whose listings are of these categories, numbered from 0."""
        category = self.of_listing("category", table["listing_id"]).fillna(NO_CATEGORY)
        table = table.assign(category=category)
        if categories is not None:
            table = table[category.isin(list(categories))]
        return table.reset_index(drop=True)

    def chosen(self, keys: Sequence[str] | None) -> list[str]:
        """These keys, or those the prompt asks for, as the grammar spells them."""
        return list(dict.fromkeys(normalise_key(key) for key in (keys or self.keys)))


def values(attributes: pd.Series, keys: Sequence[str]) -> pd.DataFrame:
    """One row a row, one column a key: its value, case-folded; None where there is none."""
    rows = [
        {key: value.casefold() for key, value in clean(pairs).items()} if isinstance(pairs, Mapping) else {}
        for pairs in attributes
    ]
    return pd.DataFrame(
        {key: pd.Series([row.get(key) for row in rows], dtype=object) for key in keys}, columns=list(keys)
    )


def names(frame: pd.DataFrame) -> list[str]:
    """The columns, which `values` named after keys."""
    return [str(column) for column in frame.columns]


def pairs(table: pd.DataFrame) -> pd.DataFrame:
    """One row for every pair: listing_id, category, key, value as they stand in the table."""
    found: list[tuple[Any, ...]] = [
        (listing_id, category, str(key), str(value))
        for listing_id, category, attributes in zip(
            table["listing_id"], table["category"], table["attributes"], strict=True
        )
        if isinstance(attributes, Mapping)
        for key, value in attributes.items()
    ]
    return pd.DataFrame(found, columns=["listing_id", "category", "key", "value"])


def texts(table: pd.DataFrame, material: Material) -> pd.DataFrame:
    """One row a listing: ids, category, title, attributes_text, valid, characters and number of pairs."""
    frame = table[["listing_id", "category", "attributes_text", "valid"]].copy()
    frame["product_id"] = material.of_listing("product_id", table["listing_id"])
    frame["title"] = material.of_listing("title", table["listing_id"])
    frame["characters"] = table["attributes_text"].fillna("").str.len()
    frame["pairs"] = [len(p) if isinstance(p, Mapping) else 0 for p in table["attributes"]]
    return frame


def judged_texts(table: pd.DataFrame) -> pd.Series:
    """The texts, empty where a row is not marked valid: the mark alone is not believed, nor is the text."""
    marked = [valid is not None and not pd.isna(valid) and bool(valid) for valid in table["valid"]]
    return pd.Series(
        [
            text if ok and isinstance(text, str) else ""
            for ok, text in zip(marked, table["attributes_text"], strict=True)
        ],
        dtype=object,
    )
