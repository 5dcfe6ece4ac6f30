"""The product index on disk: a faiss flat index, its listing ids, and the embedder version it is of."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from afmrl_models.errors import UserError
from afmrl_models.retrieval.search import SearchError, checked_vectors

_INDEX, _IDS, _ABOUT = "index.faiss", "listing_ids.txt", "index.json"


class IndexFileError(UserError):
    """A saved index is incomplete or its parts disagree; the message names the file."""


@dataclass(frozen=True)
class ProductIndex:
    """A faiss index, the listing of each of its rows, and the embedder version its vectors come from."""

    index: faiss.Index
    ids: list[str]
    model_version: str

    def vectors(self) -> np.ndarray:
        """The indexed vectors (N, D) float32, row i of listing ids[i]."""
        return np.asarray(self.index.reconstruct_n(0, len(self.ids)), dtype=np.float32)

    def search(self, queries: np.ndarray, k: int) -> list[list[tuple[str, float]]]:
        """The k best (listing id, inner product) of each query (Q, D), best first, as faiss orders them.

        The queries must come from the embedder version in `model_version`.
        """
        queries = checked_vectors(queries, [str(row) for row in range(len(queries))], "query")
        if queries.shape[1] != self.index.d:
            raise SearchError(f"queries have {queries.shape[1]} dimensions, the index has {self.index.d}")
        scores, rows = self.index.search(queries, min(k, len(self.ids)))
        return [
            [(self.ids[row], float(score)) for row, score in zip(found, values, strict=True)]
            for found, values in zip(rows, scores, strict=True)
        ]


def build_index(vectors: np.ndarray, ids: Sequence[str], model_version: str, out: Path) -> ProductIndex:
    """Index vectors (N, D) and save the index as a directory, which replaces an earlier one whole.

    Raises SearchError for vectors that cannot be searched, repeated ids, or an id with a line break.
    """
    vectors = checked_vectors(vectors, ids, "listing")
    if len(set(ids)) != len(ids):
        twice = next(listing_id for listing_id, count in Counter(ids).items() if count > 1)
        raise SearchError(f"listing id {twice!r} occurs more than once")
    broken = next((listing_id for listing_id in ids if len(listing_id.splitlines()) != 1), None)
    if broken is not None:
        raise SearchError(f"listing id {broken!r} is not one line of text")
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    faiss.write_index(index, str(partial / _INDEX))
    (partial / _IDS).write_text("".join(f"{listing_id}\n" for listing_id in ids), encoding="utf-8")
    about = {"model_version": model_version, "listings": len(ids), "dimensions": vectors.shape[1]}
    (partial / _ABOUT).write_text(json.dumps(about, indent=2), encoding="utf-8")
    if out.exists():
        shutil.rmtree(out)
    partial.replace(out)
    return ProductIndex(index, list(ids), model_version)


def load_index(directory: Path) -> ProductIndex:
    """Read what `build_index` saved. Raises IndexFileError."""
    for name in (_INDEX, _IDS, _ABOUT):
        if not (directory / name).is_file():
            raise IndexFileError(f"{directory} is no product index: {name} is missing")
    index = faiss.read_index(str(directory / _INDEX))
    ids = (directory / _IDS).read_text(encoding="utf-8").splitlines()
    about = json.loads((directory / _ABOUT).read_text(encoding="utf-8"))
    if not index.ntotal == len(ids) == about["listings"]:
        raise IndexFileError(
            f"{directory}: {_INDEX} holds {index.ntotal} vectors, {_IDS} {len(ids)} ids, "
            f"{_ABOUT} says {about['listings']}"
        )
    return ProductIndex(index, ids, about["model_version"])


def indexed_listings(directory: Path) -> list[str]:
    """The listing ids of the index in `directory`; none where there is no index."""
    path = directory / _IDS
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def check_vectors(index: ProductIndex, listing_ids: Sequence[str]) -> dict[str, bool | int]:
    """Whether the index holds one finite unit vector for each of these listings, and what is wrong if not.

    Keys: sound (never for an empty catalog); vectors and listings (how many); not_finite; not_unit_length
    (off by over 0.001); missing_listings; unknown_listings.
    """
    vectors = index.vectors()
    finite = np.isfinite(vectors).all(axis=1)
    lengths = np.linalg.norm(vectors[finite], axis=1)
    indexed, wanted = set(index.ids), set(listing_ids)
    problems = {
        "not_finite": int((~finite).sum()),
        "not_unit_length": int((np.abs(lengths - 1) > 1e-3).sum()),
        "missing_listings": len(wanted - indexed),
        "unknown_listings": len(indexed - wanted),
    }
    sound = bool(wanted) and not any(problems.values()) and len(index.ids) == len(listing_ids) == len(indexed)
    return {"sound": sound, "vectors": len(vectors), "listings": len(listing_ids), **problems}
