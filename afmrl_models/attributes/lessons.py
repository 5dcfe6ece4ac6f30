"""Which training products a generator is taught, and which are kept for RAR."""

import hashlib

import numpy as np
import pandas as pd

from afmrl_models.errors import UserError


def deal_lessons(listings: pd.DataFrame, share: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The training listings that distillation reads, `share` of the products, and those that RAR reads.

    RAR reads the others; with share 1 both read all. listings: `listing_id`, `product_id`, and whatever is
    read of them. Raises UserError where a share below 1 leaves nothing on one side.
    """
    if share == 1:
        return listings, listings
    numbers = product_numbers(listings, seed)
    # Other bits than those that deal products to folds.
    taught = (numbers >> np.uint64(32)) < share * 2**32
    if taught.all() or not taught.any():
        raise UserError(
            f"attributes.sft.share: {share} of {len(np.unique(numbers))} training products leaves nothing to "
            f"{'RAR' if taught.all() else 'distillation'}"
        )
    return listings[taught].reset_index(drop=True), listings[~taught].reset_index(drop=True)


def product_numbers(listings: pd.DataFrame, seed: int) -> np.ndarray:
    """A number for the product of each listing, uint64 (N,); a listing of no known product is its own.

    A hash of seed and id: products keep theirs while a catalog grows.
    """
    names = [
        f"product\0{product_id}" if isinstance(product_id, str) else f"listing\0{listing_id}"
        for listing_id, product_id in zip(listings["listing_id"], listings["product_id"], strict=True)
    ]
    return np.array([_hash(f"{seed}\0{name}") for name in names], dtype=np.uint64)


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
