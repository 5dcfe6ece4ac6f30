"""Relevance by shared labels, against the benchmarks' definitions written out slowly from scratch."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from afmrl_models.config import EvaluationConfig
from afmrl_models.retrieval.evaluation import evaluate_embedder
from afmrl_models.retrieval.from_files import evaluate_files
from afmrl_models.retrieval.metrics import evaluate
from afmrl_models.retrieval.tasks import relevant_listings, sharing_a_label

KS = (1, 3, 10, 50)


def slow_metrics(
    similarity: np.ndarray,
    query_ids: list[str],
    gallery_ids: list[str],
    query_labels: list[list[str]],
    gallery_labels: list[list[str]],
) -> dict[str, float]:
    """mAP@k and Prec@k as the evaluation scripts of M5Product and Product1M define them.

    A gallery item is positive when any of its labels is any of the query's; the query itself is no result.
    Both look at the first min(k, positives, results): Prec divides by that number, and AP is the mean of the
    precisions at the positives met. Ties go by id. Queries without a positive are skipped.
    """
    totals: dict[str, float] = {
        f"{name}_at_{k}": 0.0 for name in ("map", "precision_capped", "recall") for k in KS
    }
    asked = 0
    for q, query in enumerate(query_ids):
        results = sorted((-similarity[q][g], item, g) for g, item in enumerate(gallery_ids) if item != query)
        positive = []
        for _, _, g in results:
            shared = False
            for label in query_labels[q]:
                for other in gallery_labels[g]:
                    shared = shared or label == other
            positive.append(shared)
        if not any(positive):
            continue
        asked += 1
        for k in KS:
            depth = min(k, sum(positive), len(results))
            met, precisions = 0, 0.0
            for place in range(depth):
                if positive[place]:
                    met += 1
                    precisions += met / (place + 1)
            totals[f"map_at_{k}"] += precisions / met if met else 0.0
            totals[f"precision_capped_at_{k}"] += met / depth
            totals[f"recall_at_{k}"] += float(any(positive[:k]))
    return {name: total / asked for name, total in totals.items()} | {
        "queries": asked,
        "queries_without_relevant": len(query_ids) - asked,
    }


def random_catalog(seed: int) -> pd.DataFrame:
    """Queries with up to four labels, a gallery with up to two, some repeated or missing; coarse vectors."""
    rng = np.random.default_rng(seed)
    rows = []
    for role, count, most in (("query", 25, 4), ("gallery", 45, 2)):
        for i in range(count):
            labels = [f"p{x}" for x in rng.integers(0, 14, rng.integers(0, most + 1))]
            rows.append((f"{role}{i:02}", labels or None, role))
    frame = pd.DataFrame(rows, columns=["listing_id", "labels", "role"])
    # Few different vectors: most similarities tie.
    frame["vector"] = [[(1.0, 0.0), (0.0, 1.0), (0.6, 0.8)][x] for x in rng.integers(0, 3, len(frame))]
    # Some queries stand in the gallery, too.
    return pd.concat([frame, frame[:5].assign(role="gallery")], ignore_index=True)


def expected_of(frame: pd.DataFrame) -> dict[str, float]:
    queries, gallery = (frame[frame["role"] == role] for role in ("query", "gallery"))
    vectors = [np.array(side["vector"].tolist(), dtype=np.float32) for side in (queries, gallery)]
    return slow_metrics(
        (vectors[0] @ vectors[1].T).astype(np.float32),
        *(side["listing_id"].tolist() for side in (queries, gallery)),
        *([labels or [] for labels in side["labels"]] for side in (queries, gallery)),
    )


@pytest.mark.parametrize("seed", range(6))
def test_evaluation_of_a_catalog_with_labels(seed: int) -> None:
    frame = random_catalog(seed)
    listings = frame.drop_duplicates("listing_id")
    listings = listings.assign(product_id=None, category=None, title="t")
    vector_of = dict(zip(listings["listing_id"], listings["vector"], strict=True))

    def encode(side: pd.DataFrame, modality: str, attributes: object) -> np.ndarray:
        return np.array([vector_of[i] for i in side["listing_id"]], dtype=np.float32)

    evaluation = evaluate_embedder(
        None,
        listings,
        frame.assign(split="test")[["listing_id", "split", "role"]],
        None,
        EvaluationConfig(tasks=["fine_grained", "image_to_text"], ks=list(KS), bootstrap=100),
        seed=0,
        encode=encode,
    )
    for name, value in expected_of(frame).items():
        assert evaluation.metrics[f"fine_grained/{name}"] == pytest.approx(value), name
        assert evaluation.metrics[f"image_to_text/{name}"] == pytest.approx(value), name


@pytest.mark.parametrize("seed", range(6))
def test_the_command_line_agrees(seed: int, tmp_path: Path) -> None:
    frame = random_catalog(seed)
    for role, name in (("query", "q"), ("gallery", "g")):
        side = frame[frame["role"] == role]
        np.save(tmp_path / f"{name}.npy", np.array(side["vector"].tolist(), dtype=np.float32))
        (tmp_path / f"{name}.txt").write_text("\n".join(side["listing_id"]) + "\n")
    labels = frame.drop_duplicates("listing_id").rename(columns={"labels": "label"})[["listing_id", "label"]]
    labels.to_parquet(tmp_path / "labels.parquet")
    found = evaluate_files(
        *(tmp_path / name for name in ("q.npy", "g.npy", "labels.parquet")),
        query_ids=tmp_path / "q.txt",
        gallery_ids=tmp_path / "g.txt",
        ks=KS,
    )
    for name, value in expected_of(frame).items():
        assert found[name] == pytest.approx(value, abs=1e-9), name
    assert json.dumps(found)


def test_relevance_by_labels_and_within_a_category() -> None:
    queries = pd.DataFrame(
        {
            "listing_id": ["a", "b", "c", "d"],
            "labels": [["x", "y"], None, ["nowhere"], ["x"]],
            "product_id": ["1", "1", "1", "1"],
            "category": ["shoe", "shoe", "shoe", None],
        }
    )
    gallery = pd.DataFrame(
        {
            "listing_id": ["a", "e", "f", "g"],
            "labels": [["x"], ["y"], ["x", "z"], None],
            "product_id": ["1", "1", "1", "1"],
            "category": ["shoe", "shoe", "bag", "shoe"],
        }
    )
    relevant = relevant_listings(queries, gallery, "product_id")
    assert {query: set(items) for query, items in relevant.items()} == {
        "a": {"e", "f"},
        "b": set(),
        "c": set(),
        "d": {"a", "f"},
    }
    within = relevant_listings(queries, gallery, "product_id", "category")
    assert {query: set(items) for query, items in within.items()} == {
        "a": {"e"},
        "b": set(),
        "c": set(),
        "d": set(),
    }
    unlabelled = [side.assign(labels=None) for side in (queries, gallery)]
    assert set(relevant_listings(*unlabelled, "product_id")["a"]) == {"e", "f", "g"}
    assert set(relevant_listings(queries, gallery, "category")["a"]) == {"e", "g"}


def test_no_labels_share_nothing() -> None:
    assert {q: set(r) for q, r in sharing_a_label({"a": [], "b": ["x"]}, {"c": [], "b": ["x"]}).items()} == {
        "a": set(),
        "b": set(),
    }
    assert sharing_a_label({}, {"c": ["x"]}) == {}


def test_capped_precision_by_hand() -> None:
    means = evaluate({"q": ["a", "x", "b", "y"]}, {"q": ["a", "b"]}, [1, 2, 10])
    assert (means["precision_capped_at_1"], means["precision_capped_at_2"]) == (1.0, 0.5)
    assert means["precision_capped_at_10"] == 0.5, "no deeper than the two relevant items"
    assert means["precision_at_10"] == pytest.approx(0.2)
    short = evaluate({"q": ["a"], "r": []}, {"q": ["a", "b", "c"], "r": ["a"]}, [5])
    assert short["precision_capped_at_5"] == 0.5, "1/1 of a list of one, and nothing of an empty list"
