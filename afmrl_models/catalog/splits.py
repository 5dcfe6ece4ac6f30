"""Products dealt to train, validation and test, and held-out listings to query and gallery."""

import hashlib

import pandas as pd

from afmrl_models.catalog.errors import CatalogError
from afmrl_models.config import SplitsConfig

TRAIN, VALIDATION, TEST = "train", "validation", "test"
QUERY, GALLERY = "query", "gallery"


def split_products(listings: pd.DataFrame, config: SplitsConfig) -> pd.DataFrame:
    """The splits table: `listing_id`, `split`, `role`, one row a listing in the order of `listings`.

    Products are ordered by a hash of the seed and their id; the first share is test, the next
    validation, the rest train, at least one product each. So the order of the rows does not matter,
    and in a growing catalog most products stay where they were. A listing without product id is a
    product of its own. Held-out listings of a product are queries up to `query_share` (at least one,
    and at least one gallery listing); a product with one listing is gallery only. Of listings
    of unknown products `query_share` are queries: their category can be asked for. Train has no role.

    Raises CatalogError for fewer than three products or a listing id that comes twice.
    """
    ids = listings["listing_id"].tolist()
    if len(set(ids)) != len(ids):
        twice = listings["listing_id"][listings["listing_id"].duplicated()].iloc[0]
        raise CatalogError(f"splits: listing id {twice!r} comes twice")
    members: dict[tuple[str, str], list[str]] = {}
    for listing_id, product_id in zip(ids, listings["product_id"].tolist(), strict=True):
        known = isinstance(product_id, str)
        members.setdefault(("product", product_id) if known else ("listing", listing_id), []).append(
            listing_id
        )
    if len(members) < 3:
        raise CatalogError(
            f"splits: three products are needed to train, validate and test; there are {len(members)}"
        )

    products = sorted(members, key=lambda product: (_hash(config.seed, *product), product))
    validation = max(1, round(config.validation * len(products)))
    test = max(1, min(round(config.test * len(products)), len(products) - validation - 1))
    split_of: dict[str, str] = {}
    role_of: dict[str, str | None] = {}
    for position, product in enumerate(products):
        split = TEST if position < test else VALIDATION if position < test + validation else TRAIN
        queries = _queries(product[0], members[product], config) if split != TRAIN else set()
        for listing_id in members[product]:
            split_of[listing_id] = split
            role_of[listing_id] = None if split == TRAIN else QUERY if listing_id in queries else GALLERY
    return pd.DataFrame(
        {
            "listing_id": pd.Series(ids, dtype=object),
            "split": pd.Series([split_of[i] for i in ids], dtype=object),
            "role": pd.Series([role_of[i] for i in ids], dtype=object),
        }
    )


def _queries(kind: str, listing_ids: list[str], config: SplitsConfig) -> set[str]:
    if kind == "listing":
        share = int.from_bytes(_hash(config.seed, "role", listing_ids[0])[:8]) / 2**64
        return set(listing_ids) if share < config.query_share else set()
    if len(listing_ids) == 1:
        return set()
    count = min(max(round(config.query_share * len(listing_ids)), 1), len(listing_ids) - 1)
    return set(sorted(listing_ids, key=lambda i: (_hash(config.seed, "role", i), i))[:count])


def _hash(seed: int, kind: str, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{kind}\0{name}".encode()).digest()
