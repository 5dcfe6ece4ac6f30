"""Groups of identical products: mutual neighbours above a threshold that was set on labelled listings.

Two listings are linked when each is among the other's nearest neighbours and their similarity reaches the
threshold; a group is a connected component of the links. A listing as similar as the last of the nearest
counts as one of them, so that many equal offers stay together. Links chain: two listings of one group need
not be similar themselves. Mutual neighbourhood and a threshold set for precision keep chains short.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from afmrl_models.retrieval.search import Gallery

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration:
    """A similarity threshold and what it did to labelled listings.

    precision: share of the links that join one product; recall: share of all pairs of one product that are
    linked; pairs: links at the threshold. Where no threshold is precise enough, threshold is infinite
    (nothing is grouped), precision None, recall and pairs 0.
    """

    threshold: float
    precision: float | None
    recall: float
    pairs: int


@dataclass(frozen=True)
class _Pairs:
    """Mutual neighbours: rows left < right and their similarity, best first."""

    left: np.ndarray
    right: np.ndarray
    scores: np.ndarray


def calibrate_threshold(
    vectors: np.ndarray,
    products: Sequence[str | None],
    min_precision: float,
    *,
    neighbours: int = 10,
    device: str | None = None,
) -> Calibration:
    """The lowest threshold whose links among labelled listings reach `min_precision`.

    vectors (N, D): validation listings; products: their product ids, None for an unknown one (left out).
    Among fewer listings there are fewer look-alikes: on a catalog much larger than the validation split,
    precision is lower than measured here. Raises ValueError when no two listings share a product: nothing
    can be calibrated.
    """
    if len(products) != len(vectors):
        raise ValueError(f"{len(vectors)} vectors, but {len(products)} product ids")
    known = [row for row, product in enumerate(products) if not pd.isna(product)]
    codes, _ = pd.factorize(pd.Series([products[row] for row in known], dtype=object))
    sizes = np.bincount(codes) if len(codes) else np.zeros(0, dtype=np.int64)
    same_product_pairs = int((sizes * (sizes - 1) // 2).sum())
    if not same_product_pairs:
        raise ValueError("no two labelled listings share a product: there is nothing to set a threshold on")
    pairs = _mutual_neighbours(
        np.asarray(vectors)[known], [f"{row:012d}" for row in range(len(known))], neighbours, device
    )
    right = np.cumsum(codes[pairs.left] == codes[pairs.right])
    links = np.arange(1, len(right) + 1)
    # A threshold cannot part equal similarities: only the last of them is a possible cut.
    cuts = np.append(pairs.scores[1:] < pairs.scores[:-1], True) if len(right) else np.zeros(0, dtype=bool)
    good = np.flatnonzero(cuts & (right / links >= min_precision))
    if not len(good):
        logger.warning("no similarity threshold reaches precision %.3f: nothing is grouped", min_precision)
        return Calibration(float("inf"), None, 0.0, 0)
    last = int(good[-1])
    return Calibration(
        threshold=float(pairs.scores[last]),
        precision=float(right[last] / links[last]),
        recall=float(right[last] / same_product_pairs),
        pairs=last + 1,
    )


def group_identical(
    vectors: np.ndarray,
    ids: Sequence[str],
    threshold: float,
    *,
    neighbours: int = 10,
    device: str | None = None,
) -> pd.DataFrame:
    """Groups of two or more listings: columns group_id, listing_id, score; sorted by the first two.

    group_id is the group's first listing id; score is the listing's highest similarity to a listing it is
    linked to. `neighbours` should be what the threshold was calibrated with; it also bounds the links of one
    listing.
    """
    pairs = _mutual_neighbours(vectors, ids, neighbours, device)
    kept = pairs.scores >= threshold
    left, right, scores = pairs.left[kept], pairs.right[kept], pairs.scores[kept]
    graph = coo_matrix((np.ones(len(left), dtype=np.int8), (left, right)), shape=(len(ids), len(ids)))
    _, component = connected_components(graph, directed=False)
    best = np.full(len(ids), -np.inf)
    np.maximum.at(best, left, scores)
    np.maximum.at(best, right, scores)
    linked = np.flatnonzero(np.isfinite(best))
    frame = pd.DataFrame(
        {
            "component": component[linked],
            "listing_id": np.asarray(ids, dtype=object)[linked],
            "score": best[linked],
        }
    )
    frame.insert(0, "group_id", frame.groupby("component")["listing_id"].transform("min"))
    return frame.drop(columns="component").sort_values(["group_id", "listing_id"], ignore_index=True)


def _mutual_neighbours(
    vectors: np.ndarray, ids: Sequence[str], neighbours: int, device: str | None
) -> _Pairs:
    gallery = Gallery(vectors, ids, device=device)
    found = gallery.search(gallery.vectors, neighbours, query_ids=ids)
    full = found.positions[:, -1] >= 0
    last = np.where(full, found.scores[:, -1], -np.inf)  # as similar as this is near enough
    rows, places = np.nonzero(found.positions >= 0)
    others, scores = found.positions[rows, places], found.scores[rows, places]
    mutual = scores >= last[others]
    pairs = pd.DataFrame(
        {
            "left": np.minimum(rows, others)[mutual],
            "right": np.maximum(rows, others)[mutual],
            "score": scores[mutual],
        }
    )
    pairs = pairs.drop_duplicates(["left", "right"])
    pairs = pairs.sort_values(["score", "left", "right"], ascending=[False, True, True])
    return _Pairs(pairs["left"].to_numpy(), pairs["right"].to_numpy(), pairs["score"].to_numpy())
