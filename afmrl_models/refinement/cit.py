"""CIT, cyclic iterative training (docs/method.md stage 3): which attribute texts are written anew."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def listings_to_rewrite(listing_ids: Sequence[str], share: float, seed: int) -> list[str]:
    """Choose `share` of the training listings (at least one), without replacement, in the order they were
    given.

    The choice depends on the set of ids and the seed, not on their order. Give each round a seed of its own.
    Raises ValueError for an empty catalog, a share outside (0, 1], or an id that occurs twice.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share of listings to rewrite must be in (0, 1], not {share}")
    if not len(listing_ids):
        raise ValueError("there are no listings to choose from")
    _refuse_duplicates(pd.Series(list(listing_ids)), "listing_ids")
    count = max(1, round(share * len(listing_ids)))
    chosen = set(np.random.default_rng(seed).choice(sorted(listing_ids), size=count, replace=False).tolist())
    return [listing_id for listing_id in listing_ids if listing_id in chosen]


def merge_attributes(previous: pd.DataFrame, rewritten: pd.DataFrame) -> pd.DataFrame:
    """Put rewritten rows of `product_attributes` in the place of the previous ones, keeping the previous
    order.

    A rewritten row replaces its predecessor whole, also where the new text is invalid: it is what the
    generator wrote, and the checks judge it. Raises ValueError if an id is unknown to `previous`, occurs
    twice, or if the columns differ.
    """
    if set(previous.columns) != set(rewritten.columns):
        raise ValueError(f"columns differ: {sorted(previous.columns)} and {sorted(rewritten.columns)}")
    _refuse_duplicates(previous["listing_id"], "previous")
    _refuse_duplicates(rewritten["listing_id"], "rewritten")
    unknown = sorted(set(rewritten["listing_id"]) - set(previous["listing_id"]))
    if unknown:
        raise ValueError(f"{len(unknown)} listings have no previous attributes, the first: {unknown[0]!r}")
    kept = previous[~previous["listing_id"].isin(rewritten["listing_id"])]
    merged = pd.concat(
        [frame for frame in (kept, rewritten[previous.columns]) if len(frame)], ignore_index=True
    )
    order = {listing_id: row for row, listing_id in enumerate(previous["listing_id"])}
    return merged.sort_values("listing_id", key=lambda ids: ids.map(order), ignore_index=True)


def _refuse_duplicates(listing_ids: pd.Series, name: str) -> None:
    twice = listing_ids[listing_ids.duplicated()]
    if len(twice):
        raise ValueError(f"{name}: listing {twice.iloc[0]!r} occurs more than once")
