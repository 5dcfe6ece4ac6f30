"""Small tables of listings, some with photos of one paint, for the teachers' tests."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from afmrl_models.attributes.grammar import parse
from afmrl_models.catalog.images import ImageStore, ImageStoreWriter
from afmrl_models.catalog.schema import PRODUCT_ATTRIBUTES

SIZE = 28
PAINTS = {"red": (220, 20, 20), "blue": (20, 20, 220), "green": (20, 200, 20)}
KEYS = ["colour", "name"]


def frame(
    rows: list[tuple[str, str | None, dict[str, str] | None]], titles: list[str] | None = None
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "listing_id": [row[0] for row in rows],
            "product_id": pd.Series([row[1] for row in rows], dtype=object),
            "title": titles or [f"title of {row[0]}" for row in rows],
            "attributes": pd.Series([row[2] for row in rows], dtype=object),
            "content_hash": [f"hash-{row[0]}" for row in rows],
        }
    )


def painted(tmp_path: Path, colours: list[str]) -> tuple[pd.DataFrame, ImageStore]:
    """Listings whose title says nothing of the colour their photo has."""
    listings = frame([(f"l{i}", None, None) for i in range(len(colours))], titles=["shirt"] * len(colours))
    with ImageStoreWriter(tmp_path, SIZE) as writer:
        for listing_id, colour in zip(listings["listing_id"], colours, strict=True):
            writer.add(listing_id, np.full((SIZE, SIZE, 3), PAINTS[colour], np.uint8))
    return listings, ImageStore.open(tmp_path)


def by_id(table: pd.DataFrame) -> dict[str, Any]:
    assert list(table.columns) == PRODUCT_ATTRIBUTES.names
    for row in table.itertuples():
        assert row.valid == (row.attributes is not None)
        assert not row.valid or parse(row.attributes_text) == row.attributes
    return dict(zip(table["listing_id"], table["attributes"], strict=True))
