"""A catalog of 240 listings, 80 products of three offers, and a table of attributes that is nearly right."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from afmrl_models.attributes.grammar import render
from afmrl_models.attributes.judgement import Material

KEYS = ["type", "colour", "volume"]
COLOURS = ["red", "green", "blue", "black", "white", "teal"]
Rewrite = Callable[[int, dict[str, str]], dict[str, str] | str]


def attribute_table(listing_ids: list[str], pairs: list[dict[str, str] | str]) -> pd.DataFrame:
    """A PRODUCT_ATTRIBUTES table; a string is a text that the grammar refuses."""
    return pd.DataFrame(
        {
            "listing_id": pd.Series(listing_ids, dtype=object),
            "attributes_text": [p if isinstance(p, str) else render(p) for p in pairs],
            "attributes": pd.Series([None if isinstance(p, str) else p for p in pairs], dtype=object),
            "valid": [not isinstance(p, str) for p in pairs],
            "generator_version": "g/1",
            "content_hash": "h",
        }
    )


def _truth(product: int) -> dict[str, str]:
    random = np.random.default_rng(product)
    kind = ["mug", "shirt"][product % 2]
    pairs = {"type": kind, "colour": str(random.choice(COLOURS))}
    return pairs | ({"volume": f"{random.integers(2, 10) * 50} ml"} if kind == "mug" else {})


@pytest.fixture(scope="session")
def catalog() -> pd.DataFrame:
    rows = []
    for product in range(80):
        for offer in range(3):
            truth = _truth(product)
            rows.append((f"l{product}-{offer}", f"p{product}", f"<b>offer {offer}</b>", truth["type"], truth))
    return pd.DataFrame(rows, columns=["listing_id", "product_id", "title", "category", "attributes"])


@pytest.fixture(scope="session")
def written(catalog: pd.DataFrame) -> Callable[[Rewrite | None], pd.DataFrame]:
    """The table a fair generator writes (one colour in ten wrong), each row rewritten by a function."""

    def table(rewrite: Rewrite | None = None) -> pd.DataFrame:
        random = np.random.default_rng(1)
        pairs: list[dict[str, str] | str] = []
        for row, truth in enumerate(catalog["attributes"]):
            said = dict(truth)
            if random.random() < 0.1:
                said["colour"] = str(random.choice(COLOURS))
            pairs.append(said if rewrite is None else rewrite(row, said))
        return attribute_table(list(catalog["listing_id"]), pairs)

    return table


@pytest.fixture(scope="session")
def material(catalog: pd.DataFrame, written: Callable) -> Callable[..., Material]:
    """The material with this table (by default the fair one), after the fair one was accepted."""
    teacher = attribute_table(list(catalog["listing_id"]), list(catalog["attributes"]))

    def of(table: pd.DataFrame | None = None, **changes: object) -> Material:
        known = {"last": written(), "train": frozenset(catalog["listing_id"][:120]), **changes}
        return Material(written() if table is None else table, catalog, KEYS, teacher, **known)  # type: ignore[arg-type]

    return of
