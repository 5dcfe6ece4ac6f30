"""Links between listings: pairs that are mutual neighbours in an index."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from afmrl_models.retrieval.search import Neighbours


class Searchable(Protocol):
    """Vectors that can be searched: a `Gallery` or a `ProductIndex`."""

    ids: list[str]
    vectors: np.ndarray

    def search(self, queries: np.ndarray, k: int, *, query_ids: Sequence[str]) -> Neighbours: ...


@dataclass(frozen=True)
class Links:
    """Pairs of rows, left < right, and their similarity; the most similar first."""

    left: np.ndarray
    right: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, chosen: np.ndarray) -> "Links":
        """The links that a mask or positions choose."""
        return Links(self.left[chosen], self.right[chosen], self.scores[chosen])


def mutual_links(index: Searchable, neighbours: int) -> Links:
    """Pairs of listings of which each is among the other's `neighbours` nearest.

    A listing as similar as the last of the nearest counts as one of them, so that many equal offers stay
    together.
    """
    found = index.search(index.vectors, neighbours, query_ids=index.ids)
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
    return Links(pairs["left"].to_numpy(), pairs["right"].to_numpy(), pairs["score"].to_numpy())
