"""Exact search by inner product: faiss on the CPU, blocks of matrix products on a GPU.

Both find candidates in float32; candidates are scored anew in float64, one pair at a time, and ordered by
score, then by listing id. So the answer depends neither on the backend nor on how the queries were cut into
blocks. `benchmarks/search.py` compares the backends.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import faiss
import numpy as np
import torch

from afmrl_models.errors import UserError

Backend = Literal["faiss", "torch"]

# Candidates fetched beyond k, so that ties at the k-th place seldom need a second look.
_SLACK = 16
_BLOCK_BYTES = 64 << 20
_GPU_BLOCK_BYTES = 1 << 30


class SearchError(UserError):
    """Vectors or ids that cannot be searched; the message names the row or the shape."""


@dataclass(frozen=True)
class Neighbours:
    """The best gallery rows of each query, best first.

    positions: int64 (Q, k), rows of the gallery, -1 where a query has fewer than k; scores: float64 (Q, k),
    inner products, -inf there.
    """

    positions: np.ndarray
    scores: np.ndarray


class Gallery:
    """Vectors that are searched often: checked, ordered by id and (torch) moved to the device once.

    vectors: (G, D) floats, kept as float32; ids: G different strings. A device other than the CPU means the
    torch backend. index: a flat inner-product index of faiss that holds these vectors already. Raises
    SearchError when ids repeat, shapes disagree, or a vector is not finite.
    """

    def __init__(
        self,
        vectors: np.ndarray,
        ids: Sequence[str],
        *,
        device: str | None = None,
        backend: Backend | None = None,
        index: faiss.Index | None = None,
    ) -> None:
        self.ids = list(ids)
        self.vectors = checked_vectors(vectors, self.ids, "gallery")
        self.row_of = {listing_id: row for row, listing_id in enumerate(self.ids)}
        if len(self.row_of) != len(self.ids):
            twice = next(
                listing_id for row, listing_id in enumerate(self.ids) if self.row_of[listing_id] != row
            )
            raise SearchError(f"gallery id {twice!r} occurs more than once")
        on_cpu = device is None or torch.device(device).type == "cpu"
        self.backend: Backend = backend or ("faiss" if on_cpu else "torch")
        if self.backend == "faiss" and not on_cpu:
            raise SearchError(f"the faiss backend searches on the CPU, not on {device!r}")
        self._rank_of_row = np.empty(len(self.ids), dtype=np.int64)
        by_id = sorted(range(len(self.ids)), key=self.ids.__getitem__)
        self._rank_of_row[by_id] = np.arange(len(self.ids))
        self._longest = float(np.linalg.norm(self.vectors, axis=1).max(initial=0.0))
        if self.backend == "faiss":
            self._index = faiss.IndexFlatIP(self.vectors.shape[1]) if index is None else index
            if index is None:
                self._index.add(self.vectors)
        else:
            self._tensor = torch.from_numpy(self.vectors).to(device or "cpu")

    def __len__(self) -> int:
        return len(self.ids)

    def search(
        self,
        queries: np.ndarray,
        k: int,
        *,
        query_ids: Sequence[str],
        exclude: Mapping[str, Collection[str]] | None = None,
        block: int | None = None,
    ) -> Neighbours:
        """The k best gallery rows of each query (Q, D), ties by listing id.

        A query never finds the gallery row of its own id, nor those in `exclude[its id]`. Query ids may
        repeat. `block`: queries at once; it changes memory and time only.
        """
        if k < 1:
            raise SearchError(f"k must be at least 1, got {k}")
        queries = checked_vectors(queries, query_ids, "query")
        if len(self) and len(queries) and queries.shape[1] != self.vectors.shape[1]:
            raise SearchError(
                f"queries have {queries.shape[1]} dimensions, the gallery has {self.vectors.shape[1]}"
            )
        excluded = [self._excluded_rows(query_id, exclude) for query_id in query_ids]
        positions = np.full((len(queries), k), -1, dtype=np.int64)
        scores = np.full((len(queries), k), -np.inf)
        wanted = min(k + max(map(len, excluded), default=0), len(self))
        if not wanted:
            return Neighbours(positions, scores)
        if block is None:
            block = self._queries_at_once()
        for start in range(0, len(queries), block):
            rows = slice(start, start + block)
            found = self._best(queries[rows], wanted, excluded[rows])
            width = min(k, found.positions.shape[1])
            positions[rows, :width] = found.positions[:, :width]
            scores[rows, :width] = found.scores[:, :width]
        return Neighbours(positions, scores)

    def ids_of(self, neighbours: Neighbours) -> list[list[str]]:
        """The listing ids of each query's neighbours, best first."""
        return [[self.ids[row] for row in rows if row >= 0] for rows in neighbours.positions.tolist()]

    def _excluded_rows(self, query_id: str, exclude: Mapping[str, Collection[str]] | None) -> set[int]:
        rows = {self.row_of[query_id]} if query_id in self.row_of else set()
        if exclude is not None:
            rows |= {self.row_of[other] for other in exclude.get(query_id, ()) if other in self.row_of}
        return rows

    def _queries_at_once(self) -> int:
        if self.backend == "faiss":
            return 4096  # faiss cuts its own blocks; the float64 scores are cut in `exact_scores`
        budget = _BLOCK_BYTES if self._tensor.device.type == "cpu" else _GPU_BLOCK_BYTES
        return max(1, min(4096, budget // (4 * len(self))))

    def _best(
        self, queries: np.ndarray, wanted: int, excluded: Sequence[set[int]], slack: int = _SLACK
    ) -> Neighbours:
        fetch = min(wanted + slack, len(self))
        rough, rows = self._candidates(queries, fetch)
        exact = exact_scores(queries, self.vectors, rows)
        for query, forbidden in enumerate(excluded):
            if forbidden:
                exact[query, np.isin(rows[query], list(forbidden))] = -np.inf
        order = np.lexsort((self._rank_of_row[rows], -exact), axis=-1)
        positions = np.take_along_axis(rows, order, axis=1)[:, :wanted]
        scores = np.take_along_axis(exact, order, axis=1)[:, :wanted]
        positions = np.where(np.isneginf(scores), -1, positions)
        if fetch < len(self):
            # A row that float32 left out may belong here if its score can equal the last wanted one: twice
            # the worst rounding error of a float32 inner product (once for each of the two scores compared).
            error = queries.shape[1] * 2.0**-23 * np.linalg.norm(queries, axis=1) * self._longest
            open_ = np.flatnonzero(rough[:, -1] >= rough[:, wanted - 1] - 2 * error)
            if len(open_):
                again = self._best(queries[open_], wanted, [excluded[i] for i in open_.tolist()], slack * 8)
                positions[open_], scores[open_] = again.positions, again.scores
        return Neighbours(positions, scores)

    def _candidates(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The `count` best rows by float32 scores, (Q, count) scores falling and rows."""
        if self.backend == "faiss":
            return self._index.search(queries, count)
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")  # TF32's error is above the one allowed for in `_best`
        try:
            scores = torch.from_numpy(queries).to(self._tensor.device) @ self._tensor.T
        finally:
            torch.set_float32_matmul_precision(precision)
        best = scores.topk(count, dim=1)
        return best.values.cpu().numpy(), best.indices.cpu().numpy()


def search(
    queries: np.ndarray,
    gallery: np.ndarray,
    k: int,
    *,
    query_ids: Sequence[str],
    gallery_ids: Sequence[str],
    exclude: Mapping[str, Collection[str]] | None = None,
    device: str | None = None,
) -> list[list[str]]:
    """The ids of the k best gallery listings of each query row, best first; row i answers query i.

    queries (Q, D) and gallery (G, D) are compared by inner product (the cosine, for unit vectors). A listing
    never retrieves itself; `exclude` names further gallery ids a query must not find. Ties go by listing id.
    """
    index = Gallery(gallery, gallery_ids, device=device)
    return index.ids_of(index.search(queries, k, query_ids=query_ids, exclude=exclude))


def exact_scores(queries: np.ndarray, vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Inner products (Q, N) in float64 of query i and vectors[rows[i]]; each depends on its pair alone."""
    scores = np.empty(rows.shape)
    step = max(1, _BLOCK_BYTES // max(1, 16 * rows.shape[1] * queries.shape[1]))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        products = vectors[rows[part]].astype(np.float64)
        products *= queries[part, None, :]
        scores[part] = products.sum(axis=2)
    return scores


def checked_vectors(vectors: np.ndarray, ids: Sequence[str], what: str) -> np.ndarray:
    """float32, contiguous (N, D); SearchError unless there is one id a row and every value is finite."""
    vectors = np.asarray(vectors)
    if vectors.ndim != 2:
        raise SearchError(f"{what} vectors must be a matrix (rows, dimensions), got shape {vectors.shape}")
    if len(vectors) != len(ids):
        raise SearchError(f"{len(vectors)} {what} vectors, but {len(ids)} {what} ids")
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise SearchError(
            f"{len(bad)} {what} vectors hold NaN or infinity, the first is row {bad[0]} ({ids[bad[0]]!r})"
        )
    return vectors
