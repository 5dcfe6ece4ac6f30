"""Evaluation of an embedder on the held-out listings: retrieval tasks, intervals, downstream measures."""

import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from afmrl_models.config import EvaluationConfig, Modality
from afmrl_models.errors import UserError
from afmrl_models.retrieval.downstream import TooFewLabels, downstream_metrics
from afmrl_models.retrieval.metrics import per_query
from afmrl_models.retrieval.search import Gallery
from afmrl_models.retrieval.significance import Interval, bootstrap_intervals
from afmrl_models.retrieval.tasks import TASKS, RetrievalTask, relevant_listings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from afmrl_models.catalog.images import ImageStore

logger = logging.getLogger(__name__)

# listings, modality, attribute texts (listing id -> text) or None -> unit vectors (N, D)
Encode = Callable[[pd.DataFrame, Modality, Mapping[str, str] | None], np.ndarray]

# A contact sheet shows five results, also when the profile asks for Recall@1 alone.
_LEAST_DEPTH = 5
# Listings whose vectors are kept, of each side and modality.
_SAMPLED = 16
_SAMPLE_COLUMNS = ["listing_id", "role", "modality", "vector"]


def _no_sample() -> pd.DataFrame:
    return pd.DataFrame(columns=_SAMPLE_COLUMNS)


@dataclass(frozen=True)
class Evaluation:
    """What one embedder reached, with everything needed to compare it and to look at it.

    metrics: `<task>/<metric>_at_<k>`, `<task>/queries`, `<task>/queries_without_relevant`, where candidates
    are restricted `<task>/queries_without_category`, and `downstream/<metric>`. intervals: the 95 % bootstrap
    interval over products of every retrieval metric.
    per_query: task, query_id, product_id (its own id where the product is unknown), then one column a metric.
    ranked: task, query_id, rank (from 1), listing_id, score, relevant; the top of every query with a
    relevant item. left_out: task, or "downstream" -> why it was not measured. sample: listing_id, role,
    modality, vector of a few listings, by which the model is known again.
    """

    metrics: dict[str, float]
    intervals: dict[str, Interval]
    per_query: pd.DataFrame
    ranked: pd.DataFrame
    left_out: dict[str, str]
    sample: pd.DataFrame = field(default_factory=_no_sample)

    @property
    def tasks_without_queries(self) -> list[str]:
        """The retrieval tasks that this catalog cannot ask."""
        return [name for name in self.left_out if name in TASKS]

    def save(self, directory: Path) -> None:
        """Write metrics.json, per_query, ranked and sample .parquet; the directory appears when whole."""
        partial = directory.with_name(f".{directory.name}.{os.getpid()}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        summary = {
            "metrics": self.metrics,
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
            "left_out": self.left_out,
        }
        (partial / "metrics.json").write_text(json.dumps(summary, indent=2), encoding="utf-8")
        self.per_query.to_parquet(partial / "per_query.parquet", index=False)
        self.ranked.to_parquet(partial / "ranked.parquet", index=False)
        self.sample.to_parquet(partial / "sample.parquet", index=False)
        if directory.exists():
            shutil.rmtree(directory)
        partial.replace(directory)

    @classmethod
    def load(cls, directory: Path) -> "Evaluation":
        """Read what `save` wrote; where an earlier version of it kept no sample, it is empty."""
        sample = directory / "sample.parquet"
        summary: dict[str, Any] = json.loads((directory / "metrics.json").read_text(encoding="utf-8"))
        return cls(
            metrics=summary["metrics"],
            intervals={name: Interval(*interval) for name, interval in summary["intervals"].items()},
            per_query=pd.read_parquet(directory / "per_query.parquet"),
            ranked=pd.read_parquet(directory / "ranked.parquet"),
            left_out=summary["left_out"],
            sample=pd.read_parquet(sample) if sample.exists() else _no_sample(),
        )


def evaluate_embedder(
    model: "SentenceTransformer | None",
    listings: pd.DataFrame,
    splits: pd.DataFrame,
    images: "ImageStore | None",
    config: EvaluationConfig,
    *,
    split: Literal["validation", "test"] = "test",
    query_attributes: Mapping[str, str] | None = None,
    gallery_attributes: Mapping[str, str] | None = None,
    seed: int,
    encode: Encode | None = None,
    device: str | None = None,
    progress: bool = False,
) -> Evaluation:
    """Run the configured tasks and the downstream measures on one split's queries and gallery.

    Attribute texts (listing id -> text) are appended to the titles of the queries, or of the gallery,
    wherever a modality has text. Every (role, modality) is encoded once and shared by the tasks. A task that
    the catalog cannot ask (no product ids, no categories, no pair on both sides) is left out with its
    reason, never scored 0. Listings with `labels` are relevant where they share one, others where they share
    the product. `encode` replaces the model (then model and images may be None); `device` is where the search
    runs. Raises ValueError for a split without queries or gallery, or with a listing that
    `listings` lacks.
    """
    if encode is None:
        if model is None or images is None:
            raise ValueError("evaluate_embedder needs a model and images, or an encode function")
        encode = model_encoder(model, images, config.batch_size, progress)
        device = device or str(model.device)
    sides = {role: _side(listings, splits, split, role) for role in ("query", "gallery")}
    attributes = {"query": query_attributes, "gallery": gallery_attributes}
    vectors: dict[tuple[str, Modality], np.ndarray] = {}

    def encoded(role: str, modality: Modality) -> np.ndarray:
        if (role, modality) not in vectors:
            logger.info("encoding %d %s listings as %s", len(sides[role]), role, modality)
            texts = None if modality == "image" else attributes[role]
            vectors[role, modality] = encode(sides[role], modality, texts)
        return vectors[role, modality]

    metrics: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    left_out: dict[str, str] = {}
    per_query_frames: list[pd.DataFrame] = []
    ranked_frames: list[pd.DataFrame] = []
    products = sides["query"].set_index("listing_id")["product"]
    for name in config.tasks:
        task = TASKS[name]
        asking = sides["query"]
        if task.within is not None:
            asking = asking[asking[task.within].notna()]
        relevant = relevant_listings(asking, sides["gallery"], task.same, task.within)
        query_ids = [query for query, items in relevant.items() if len(items)]
        if not query_ids:
            alike = task.same if task.within is None else f"{task.same} and {task.within}"
            left_out[name] = (
                f"none of {len(sides['query'])} {split} queries has another gallery listing of its {alike}"
            )
            continue
        depth = max(_LEAST_DEPTH, *config.ks)
        ranked = _ranked(task, sides, encoded, relevant, depth, device)
        lists: dict[str, list[str]] = {query: [] for query in query_ids}
        for query, listing_id in zip(ranked["query_id"], ranked["listing_id"], strict=True):
            lists[query].append(listing_id)
        scores = per_query(lists, relevant, config.ks)
        scored_products = products.loc[scores.index].tolist()
        metrics |= {f"{name}/{metric}": float(value) for metric, value in scores.mean().items()}
        metrics[f"{name}/queries"] = float(len(scores))
        metrics[f"{name}/queries_without_relevant"] = float(len(relevant) - len(scores))
        if task.within is not None:
            metrics[f"{name}/queries_without_{task.within}"] = float(len(sides["query"]) - len(relevant))
        for metric, interval in bootstrap_intervals(scores, scored_products, config.bootstrap, seed).items():
            intervals[f"{name}/{metric}"] = interval
        scores.insert(0, "product_id", scored_products)
        scores = scores.reset_index()
        scores.insert(0, "task", name)
        per_query_frames.append(scores)
        ranked_frames.append(ranked)
    try:
        metrics |= _downstream(sides, encoded, seed)
    except TooFewLabels as error:
        left_out["downstream"] = str(error)
    for what, reason in left_out.items():
        logger.warning("%s is left out: %s", what, reason)
    return Evaluation(
        metrics=metrics,
        intervals=intervals,
        per_query=_concat(per_query_frames, ["task", "query_id", "product_id"]),
        ranked=_concat(ranked_frames, ["task", "query_id", "rank", "listing_id", "score", "relevant"]),
        left_out=left_out,
        sample=_sample(sides, vectors),
    )


def model_encoder(
    model: "SentenceTransformer", images: "ImageStore", batch_size: int, progress: bool
) -> Encode:
    """How a model embeds listings. What was asked for once is kept: evaluations of one embedder share it."""
    from afmrl_models.embedding.embedder import encode_listings

    kept: dict[tuple[object, ...], np.ndarray] = {}

    def encode(
        listings: pd.DataFrame, modality: Modality, attributes: Mapping[str, str] | None
    ) -> np.ndarray:
        ids = listings["listing_id"]
        texts = tuple((attributes or {}).get(id_) for id_ in ids) if modality != "image" else None
        key = (modality, tuple(ids), texts)
        if key not in kept:
            kept[key] = encode_listings(model, listings, images, modality, attributes, batch_size, progress)
        return kept[key]

    return encode


def _side(listings: pd.DataFrame, splits: pd.DataFrame, split: str, role: str) -> pd.DataFrame:
    """The listings of one role, with `product`: the product id, or the listing's own id if unknown."""
    wanted = splits.loc[(splits["split"] == split) & (splits["role"] == role), "listing_id"]
    if wanted.empty:
        raise UserError(f"the {split} split has no {role} listings")
    missing = set(wanted) - set(listings["listing_id"])
    if missing:
        raise ValueError(
            f"{len(missing)} {role} listings of the {split} split are not in the catalog, "
            f"the first is {min(missing)!r}"
        )
    side = listings[listings["listing_id"].isin(set(wanted))].reset_index(drop=True)
    return side.assign(product=side["product_id"].where(side["product_id"].notna(), side["listing_id"]))


def _sample(
    sides: Mapping[str, pd.DataFrame], vectors: Mapping[tuple[str, Modality], np.ndarray]
) -> pd.DataFrame:
    """Evenly spaced listings of everything that was embedded."""
    frames = [_no_sample()]
    for (role, modality), matrix in vectors.items():
        rows = np.unique(np.linspace(0, len(matrix) - 1, min(_SAMPLED, len(matrix))).astype(int))
        frames.append(
            pd.DataFrame(
                {
                    "listing_id": sides[role]["listing_id"].to_numpy()[rows],
                    "role": role,
                    "modality": modality,
                    "vector": [np.asarray(matrix[row], dtype=np.float32) for row in rows],
                }
            )
        )
    return pd.concat(frames[1:] or frames, ignore_index=True)


def _ranked(
    task: RetrievalTask,
    sides: Mapping[str, pd.DataFrame],
    encoded: Callable[[str, Modality], np.ndarray],
    relevant: Mapping[str, Any],
    depth: int,
    device: str | None,
) -> pd.DataFrame:
    """The top of every query that has a relevant item, in the queries' order."""
    queries, gallery = sides["query"], sides["gallery"]
    asked = queries["listing_id"].map(lambda query: len(relevant.get(query, ())) > 0).to_numpy(dtype=bool)
    vectors = {"query": encoded("query", task.query), "gallery": encoded("gallery", task.gallery)}
    if task.within is None:
        searches = [(asked, np.ones(len(gallery), dtype=bool))]
    else:
        searches = [
            (asked & (queries[task.within] == value).to_numpy(), (gallery[task.within] == value).to_numpy())
            for value in queries.loc[asked, task.within].unique()
        ]
    parts = []
    for rows, among in searches:
        part = _searched(
            task.name,
            queries.loc[rows, "listing_id"].tolist(),
            vectors["query"][rows],
            Gallery(vectors["gallery"][among], gallery.loc[among, "listing_id"].tolist(), device=device),
            relevant,
            depth,
        )
        parts.append(part)
    place = pd.Series(np.arange(len(queries)), index=queries["listing_id"])
    ranked = pd.concat(parts, ignore_index=True)
    return ranked.sort_values("query_id", key=lambda ids: ids.map(place), kind="stable", ignore_index=True)


def _searched(
    task: str,
    query_ids: list[str],
    queries: np.ndarray,
    gallery: Gallery,
    relevant: Mapping[str, Any],
    depth: int,
) -> pd.DataFrame:
    found = gallery.search(queries, depth, query_ids=query_ids)
    rows, ranks = np.nonzero(found.positions >= 0)
    listing_ids = np.asarray(gallery.ids, dtype=object)[found.positions[rows, ranks]]
    asked = np.asarray(query_ids, dtype=object)[rows]
    return pd.DataFrame(
        {
            "task": task,
            "query_id": asked,
            "rank": ranks + 1,
            "listing_id": listing_ids,
            "score": found.scores[rows, ranks],
            "relevant": [item in relevant[query] for query, item in zip(asked, listing_ids, strict=True)],
        }
    )


def _downstream(
    sides: Mapping[str, pd.DataFrame], encoded: Callable[[str, Modality], np.ndarray], seed: int
) -> dict[str, float]:
    labelled = {role: side["category"].notna().to_numpy() for role, side in sides.items()}
    categories = sides["query"]["category"].nunique()
    if categories < 2:
        raise TooFewLabels(f"the queries have {categories} categories; downstream measures need two")
    arguments: dict[str, np.ndarray] = {}
    for role, prefix, vectors in (("query", "query", "queries"), ("gallery", "gallery", "gallery")):
        rows = labelled[role]
        arguments[vectors] = encoded(role, "multimodal")[rows]
        arguments[f"{prefix}_labels"] = sides[role]["category"].to_numpy(dtype=object)[rows].astype(str)
        arguments[f"{prefix}_products"] = sides[role]["product"].to_numpy(dtype=object)[rows].astype(str)
    measured = downstream_metrics(**arguments, seed=seed)
    return {f"downstream/{name}": value for name, value in measured.items()}


def _concat(frames: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
