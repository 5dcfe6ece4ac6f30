"""The upper bound of any attribute generator: what the shop itself states of the products searched for.

Only the `oracle` rows of the ablation and the judgement of the generators may read this: it tells of a
held-out product what its other offers state. It lies behind the rooms that train (`attributes`, `embedding`),
which cannot import it, and speaks of held-out listings only.
"""

from collections.abc import Sequence
from typing import Literal

import pandas as pd

from afmrl_models.attributes.teachers.catalog import CatalogTeacher
from afmrl_models.catalog.images import ImageStore


def oracle_attributes(
    listings: pd.DataFrame,
    splits: pd.DataFrame,
    images: ImageStore,
    keys: Sequence[str],
    *,
    split: Literal["validation", "test"],
) -> dict[str, str]:
    """listing_id -> attribute text of the split's listings: the consensus of all offers of the product.

    keys: those the generator is asked for. Listings of whose product nobody states any of them are absent;
    {} where that is all of them, or where there are no keys.
    """
    held_out = set(splits.loc[splits["split"] == split, "listing_id"])
    products = set(listings.loc[listings["listing_id"].isin(held_out), "product_id"].dropna())
    offers = listings[listings["listing_id"].isin(held_out) | listings["product_id"].isin(products)]
    if not keys:
        return {}
    stated = CatalogTeacher(keys).write(offers.reset_index(drop=True), images)
    stated = stated[stated["valid"] & stated["listing_id"].isin(held_out)]
    return dict(zip(stated["listing_id"], stated["attributes_text"], strict=True))
