"""The product index on disk: a faiss index, its listing ids, and which model's vectors it holds."""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from afmrl_models.config.release import ProductIndexConfig
from afmrl_models.errors import UserError
from afmrl_models.retrieval.recipes import Recipe, choose_recipe, fill, to_gpu
from afmrl_models.retrieval.search import Gallery, Neighbours, SearchError, checked_vectors, exact_scores

ABOUT = "index.json"
_INDEX, _VECTORS, _IDS = "index.faiss", "vectors.npy", "listing_ids.txt"
_SAMPLED_BLOCKS, _BLOCK = 64, 4096


class IndexFileError(UserError):
    """A saved index is incomplete, damaged or another model's; the message names the file."""


@dataclass(frozen=True)
class Origin:
    """Whose vectors an index holds: an embedder version, and the generator whose texts listings show.

    Each by its `models:/…` URI and the digest of its files; no generator: titles and photos alone.
    """

    embedder: str
    embedder_digest: str
    generator: str | None = None
    generator_digest: str | None = None


class ProductIndex:
    """The vectors of a catalog, searched as the recipe says.

    ids: the listing of each row. vectors: float32 (N, D), mapped from the file, never all in memory.
    """

    def __init__(
        self,
        index: faiss.Index,
        vectors: np.ndarray,
        ids: Sequence[str],
        origin: Origin,
        recipe: Recipe,
        device: str = "cpu",
    ) -> None:
        self.vectors, self.ids = vectors, list(ids)
        self.origin, self.recipe = origin, recipe
        self._index = to_gpu(index) if device.startswith("cuda") and not recipe.exact else index
        self._device = device

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each listing."""
        return {listing_id: row for row, listing_id in enumerate(self.ids)}

    @cached_property
    def _gallery(self) -> Gallery:
        return Gallery(self.vectors, self.ids, device=self._device, index=self._index)

    def search(self, queries: np.ndarray, k: int, *, query_ids: Sequence[str]) -> Neighbours:
        """The k best rows of each query (Q, D) with their exact inner products, ties by listing id.

        The queries must be of the same `origin`. A query never finds the row of its own id. With an
        approximate recipe a result may be missing, but scores and order of those found are exact.
        """
        queries = checked_vectors(queries, query_ids, "query")
        if len(self) and queries.shape[1] != self.vectors.shape[1]:
            raise SearchError(
                f"queries have {queries.shape[1]} dimensions, the index has {self.vectors.shape[1]}"
            )
        if self.recipe.exact:
            return self._gallery.search(queries, k, query_ids=query_ids)
        if k < 1:
            raise SearchError(f"k must be at least 1, got {k}")
        faiss.ParameterSpace().set_index_parameter(self._index, "nprobe", self.recipe.nprobe)
        positions = np.full((len(queries), k), -1, dtype=np.int64)
        scores = np.full((len(queries), k), -np.inf)
        fetch = min(len(self), (k + 1) * self.recipe.rerank)
        for start in range(0, len(queries), 4096):
            part = slice(start, start + 4096)
            _, rows = self._index.search(queries[part], fetch)
            exact = exact_scores(queries[part], self.vectors, rows)
            own = np.array([self.row_of.get(i, -2) for i in query_ids[part]])
            exact[(rows < 0) | (rows == own[:, None])] = -np.inf
            order = np.lexsort((self._rank_of_row[rows], -exact), axis=-1)[:, :k]
            scores[part, : order.shape[1]] = np.take_along_axis(exact, order, axis=1)
            positions[part, : order.shape[1]] = np.take_along_axis(rows, order, axis=1)
        return Neighbours(np.where(np.isneginf(scores), -1, positions), scores)

    @cached_property
    def _rank_of_row(self) -> np.ndarray:
        rank = np.empty(len(self), dtype=np.int64)
        rank[sorted(range(len(self)), key=self.ids.__getitem__)] = np.arange(len(self))
        return rank


def build_index(
    vectors: np.ndarray,
    ids: Sequence[str],
    origin: Origin,
    out: Path,
    config: ProductIndexConfig | None = None,
    device: str = "cpu",
) -> ProductIndex:
    """Index vectors (N, D) and save the index as a directory, which replaces an earlier one whole.

    Raises SearchError for vectors that cannot be searched, repeated ids, an id with a line break, or a recipe
    that does not fit.
    """
    vectors = checked_vectors(vectors, ids, "listing")
    if len(set(ids)) != len(ids):
        twice = next(listing_id for listing_id, count in Counter(ids).items() if count > 1)
        raise SearchError(f"listing id {twice!r} occurs more than once")
    broken = next((listing_id for listing_id in ids if len(listing_id.splitlines()) != 1), None)
    if broken is not None:
        raise SearchError(f"listing id {broken!r} is not one line of text")
    recipe = choose_recipe(len(vectors), vectors.shape[1], config or ProductIndexConfig())
    index = fill(recipe, vectors, device)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    faiss.write_index(index, str(partial / _INDEX))
    if not recipe.exact:  # a flat index holds the exact vectors itself
        np.save(partial / _VECTORS, vectors)
    (partial / _IDS).write_text("".join(f"{listing_id}\n" for listing_id in ids), encoding="utf-8")
    about = {
        "listings": len(ids),
        "dimensions": vectors.shape[1],
        "metric": "inner product",
        "recipe": asdict(recipe),
        "origin": asdict(origin),
        "parts": {path.name: _fingerprint(path) for path in sorted(partial.iterdir())},
    }
    (partial / ABOUT).write_text(json.dumps(about, indent=2), encoding="utf-8")
    if out.exists():
        shutil.rmtree(out)
    partial.replace(out)
    return ProductIndex(index, vectors, ids, origin, recipe, device)


def load_index(directory: Path, device: str = "cpu") -> ProductIndex:
    """Read what `build_index` saved; vectors stay on disk until they are looked at. Raises IndexFileError."""
    about = read_about(directory)
    for name, fingerprint in about["parts"].items():
        if not (directory / name).is_file():
            raise IndexFileError(f"{directory} is no product index: {name} is missing")
        if _fingerprint(directory / name) != fingerprint:
            raise IndexFileError(f"{directory / name} is damaged or another index's: it is not as indexed")
    recipe, origin = Recipe(**about["recipe"]), Origin(**about["origin"])
    index = faiss.read_index(str(directory / _INDEX), faiss.IO_FLAG_MMAP_IFC)
    vectors = _flat_vectors(index) if recipe.exact else np.load(directory / _VECTORS, mmap_mode="r")
    ids = (directory / _IDS).read_text(encoding="utf-8").splitlines()
    shape = (about["listings"], about["dimensions"])
    if not (index.ntotal, index.d) == vectors.shape == (len(ids), index.d) == shape:
        raise IndexFileError(
            f"{directory}: {_INDEX} holds {index.ntotal} vectors, {_IDS} {len(ids)} ids, {ABOUT} says {shape}"
        )
    return ProductIndex(index, vectors, ids, origin, recipe, device)


def read_about(directory: Path) -> dict[str, Any]:
    """What an index says of itself: listings, dimensions, metric, recipe, origin, parts."""
    try:
        about = json.loads((directory / ABOUT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise IndexFileError(f"{directory} is no product index: {ABOUT} is missing") from None
    except ValueError as error:
        raise IndexFileError(f"{directory / ABOUT}: cannot be read: {error}") from None
    if not {"listings", "dimensions", "recipe", "origin", "parts"} <= about.keys():
        raise IndexFileError(f"{directory / ABOUT} is of an older form: build the index anew")
    return dict(about)


def demand_origin(index: ProductIndex, embedder: str, directory: Path) -> None:
    """Raise IndexFileError unless the index in `directory` is of this embedder version (`models:/…`)."""
    if index.origin.embedder != embedder:
        raise IndexFileError(
            f"{directory}: holds vectors of {index.origin.embedder}, but the champion is {embedder}: "
            "materialize release/product_index"
        )


def indexed_listings(directory: Path) -> list[str]:
    """The listing ids of the index in `directory`; none where there is no index."""
    path = directory / _IDS
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def check_vectors(index: ProductIndex, listing_ids: Sequence[str]) -> dict[str, bool | int]:
    """Whether the index holds one finite unit vector for each of these listings, and what is wrong if not.

    Keys: sound (never for an empty catalog); vectors and listings (how many); not_finite; not_unit_length
    (off by over 0.001); missing_listings; unknown_listings.
    """
    not_finite = not_unit_length = 0
    for start in range(0, len(index), 1 << 16):
        vectors = index.vectors[start : start + (1 << 16)]
        finite = np.isfinite(vectors).all(axis=1)
        not_finite += int((~finite).sum())
        not_unit_length += int((np.abs(np.linalg.norm(vectors[finite], axis=1) - 1) > 1e-3).sum())
    indexed, wanted = set(index.ids), set(listing_ids)
    problems = {
        "not_finite": not_finite,
        "not_unit_length": not_unit_length,
        "missing_listings": len(wanted - indexed),
        "unknown_listings": len(indexed - wanted),
    }
    sound = bool(wanted) and not any(problems.values()) and len(index.ids) == len(listing_ids) == len(indexed)
    return {"sound": sound, "vectors": len(index.vectors), "listings": len(listing_ids), **problems}


def _flat_vectors(index: Any) -> np.ndarray:
    """The rows of a flat index where they are: in the mapped file."""
    if not index.ntotal:
        return np.empty((0, index.d), dtype=np.float32)
    view: np.ndarray = faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d)
    return view.reshape(index.ntotal, index.d)


def _fingerprint(path: Path) -> str:
    """sha256 of a file's size and of blocks spread over it: tells another file apart without reading all."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for start in np.linspace(0, max(0, size - _BLOCK), _SAMPLED_BLOCKS).astype(int).tolist():
            file.seek(start)
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()
