"""Metrics of any two matrices on disk: `afmrl evaluate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from afmrl_models.errors import UserError
from afmrl_models.retrieval.metrics import check_ks, evaluate
from afmrl_models.retrieval.search import SearchError, checked_vectors, search
from afmrl_models.retrieval.tasks import sharing_a_label


class EvaluationFileError(UserError):
    """A file cannot be used; the message names it and the row, shape or id."""


def evaluate_files(
    query: Path,
    gallery: Path,
    labels: Path,
    *,
    query_ids: Path | None = None,
    gallery_ids: Path | None = None,
    ks: Sequence[int] = (1, 5, 10),
    similarity: Literal["cosine", "dot"] = "cosine",
    device: str | None = None,
) -> dict[str, float]:
    """`metrics.evaluate` for query (Q, D) and gallery (G, D) `.npy` matrices of any float type.

    labels: Parquet with `listing_id` and `label`, a string or a list of strings; a gallery listing is
    relevant when it shares a label with the query. A listing never retrieves itself. Ids: text files with
    one listing id a line. Without either, the rows of `labels` say whose vectors these are: both matrices
    hold its listings in its order, or the first Q rows are the queries and the remaining G the gallery.
    Raises EvaluationFileError, and MetricsError for ks that mean nothing.
    """
    check_ks(ks)
    queries, documents = _matrix(query), _matrix(gallery)
    if queries.shape[1] != documents.shape[1]:
        raise EvaluationFileError(
            f"{query} has {queries.shape[1]} dimensions, {gallery} has {documents.shape[1]}"
        )
    label_sets = _labels(labels)
    if query_ids is None and gallery_ids is None:
        ids = _ids_from_labels(list(label_sets), len(queries), len(documents), query, gallery, labels)
    elif query_ids is None or gallery_ids is None:
        raise EvaluationFileError("give --query-ids and --gallery-ids both, or neither")
    else:
        ids = _ids(query_ids, len(queries), query), _ids(gallery_ids, len(documents), gallery)
    for path, side in zip((query_ids or query, gallery_ids or gallery), ids, strict=True):
        unlabelled = [listing_id for listing_id in side if listing_id not in label_sets]
        if unlabelled:
            raise EvaluationFileError(
                f"{labels} has no row for {len(unlabelled)} listings of {path}, "
                f"the first is {unlabelled[0]!r}"
            )
    ranked = search(
        _prepared(queries, ids[0], query, similarity),
        _prepared(documents, ids[1], gallery, similarity),
        max(ks),
        query_ids=ids[0],
        gallery_ids=ids[1],
        device=device,
    )
    relevant = sharing_a_label(*({listing_id: label_sets[listing_id] for listing_id in side} for side in ids))
    return evaluate(dict(zip(ids[0], ranked, strict=True)), relevant, ks)


def _matrix(path: Path) -> np.ndarray:
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise EvaluationFileError(f"{path} cannot be read as a .npy matrix: {error}") from error
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2:
        shape = getattr(matrix, "shape", "several arrays")
        raise EvaluationFileError(f"{path} must hold one matrix (listings, dimensions), it holds {shape}")
    if not np.issubdtype(matrix.dtype, np.floating):
        raise EvaluationFileError(f"{path} must hold floats, it holds {matrix.dtype}")
    return matrix


def _labels(path: Path) -> dict[str, frozenset[str]]:
    try:
        frame = pd.read_parquet(path, columns=["listing_id", "label"])
    except Exception as error:  # pyarrow raises its own kinds for a missing file, column, or another format
        raise EvaluationFileError(f"{path} needs the columns listing_id and label: {error}") from error
    labels: dict[str, frozenset[str]] = {}
    for row, (listing_id, label) in enumerate(zip(frame["listing_id"], frame["label"], strict=True)):
        if listing_id is None or pd.isna(listing_id):
            raise EvaluationFileError(f"{path}: row {row} has no listing_id")
        if str(listing_id) in labels:
            raise EvaluationFileError(f"{path}: listing_id {listing_id!r} occurs twice, again in row {row}")
        values = label if isinstance(label, list | tuple | np.ndarray) else [label]
        labels[str(listing_id)] = frozenset(str(value) for value in values if not pd.isna(value))
    return labels


def _ids(path: Path, rows: int, matrix: Path) -> list[str]:
    try:
        ids = path.read_text(encoding="utf-8").removesuffix("\n").split("\n") if path.stat().st_size else []
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationFileError(f"{path} cannot be read: {error}") from error
    ids = [line.removesuffix("\r") for line in ids]
    if len(ids) != rows:
        raise EvaluationFileError(f"{path} has {len(ids)} ids, but {matrix} has {rows} rows")
    _refuse_repeats(ids, path)
    return ids


def _refuse_repeats(ids: Sequence[str], path: Path) -> None:
    first: dict[str, int] = {}
    for row, listing_id in enumerate(ids):
        if first.setdefault(listing_id, row) != row:
            raise EvaluationFileError(
                f"{path}: id {listing_id!r} stands in line {first[listing_id] + 1} and in line {row + 1}"
            )


def _ids_from_labels(
    ids: list[str], queries: int, documents: int, query: Path, gallery: Path, labels: Path
) -> tuple[list[str], list[str]]:
    if len(ids) == queries == documents:
        return ids, ids
    if len(ids) == queries + documents:
        return ids[:queries], ids[queries:]
    raise EvaluationFileError(
        f"{query} has {queries} rows, {gallery} has {documents}, {labels} has {len(ids)}: which row is whose "
        "vector is unclear; give --query-ids and --gallery-ids"
    )


def _prepared(
    matrix: np.ndarray, ids: Sequence[str], path: Path, similarity: Literal["cosine", "dot"]
) -> np.ndarray:
    try:
        vectors = checked_vectors(matrix, ids, path.name)
    except SearchError as error:
        raise EvaluationFileError(f"{path}: {error}") from error
    if similarity == "dot":
        return vectors
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    zero = np.flatnonzero(lengths[:, 0] == 0)
    if len(zero):
        raise EvaluationFileError(
            f"{path}: {len(zero)} rows are all zeros and have no cosine, the first is row {zero[0]} "
            f"({ids[zero[0]]!r})"
        )
    return np.asarray(vectors / lengths, dtype=np.float32)
