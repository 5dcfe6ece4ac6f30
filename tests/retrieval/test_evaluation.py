"""A whole evaluation with an injected encoder, against a slow loop over the same vectors."""

import numpy as np
import pandas as pd
import pytest

from afmrl_models.config import EvaluationConfig
from afmrl_models.retrieval.evaluation import Evaluation, evaluate_embedder
from afmrl_models.retrieval.tasks import TASKS, relevant_listings

CONFIG = EvaluationConfig(bootstrap=100)


def catalog(products: int = 24, offers: int = 3) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = [
        {
            "listing_id": f"l{p:02d}-{o}",
            "product_id": f"p{p:02d}",
            "title": f"product {p} offer {o}",
            "category": f"c{p % 3}",
            "split": "test",
            "role": "query" if o == 0 else "gallery",
        }
        for p in range(products)
        for o in range(offers)
    ]
    train = [{**rows[0], "listing_id": "t0", "product_id": "pt", "split": "train", "role": None}]
    frame = pd.DataFrame(rows + train)
    return frame.drop(columns=["split", "role"]), frame[["listing_id", "split", "role"]]


class Encoder:
    """Unit vectors that lie near their product's and category's direction, by modality; counts its calls."""

    def __init__(self, noise: float = 0.8) -> None:
        self.calls: list[tuple[str, frozenset[str], bool]] = []
        self.noise = noise

    def __call__(self, listings, modality, attributes) -> np.ndarray:
        self.calls.append((modality, frozenset(listings["listing_id"]), attributes is not None))
        vectors = []
        for row in listings.itertuples():
            parts = [
                (str(row.product_id), 1.0),
                (str(row.category), 1.0),
                (row.listing_id + modality, self.noise),
            ]
            if attributes and row.listing_id in attributes:
                parts.append((attributes[row.listing_id], 3.0))
            vectors.append(
                sum(w * np.random.default_rng(list(text.encode())).standard_normal(16) for text, w in parts)
            )
        matrix = np.array(vectors, dtype=np.float32)
        return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def run(listings, splits, encoder=None, config=CONFIG, **extra) -> Evaluation:
    return evaluate_embedder(
        None, listings, splits, None, config, seed=0, encode=encoder or Encoder(), **extra
    )


def test_every_task_equals_a_loop() -> None:
    listings, splits = catalog()
    evaluation = run(listings, splits)
    table = listings.merge(splits, on="listing_id").query("split == 'test'")
    queries, gallery = table[table["role"] == "query"], table[table["role"] == "gallery"]
    assert not evaluation.left_out
    for name, task in TASKS.items():
        q, g = Encoder()(queries, task.query, None), Encoder()(gallery, task.gallery, None)
        hits = {k: [] for k in CONFIG.ks}
        for vector, own, kind in zip(q, queries[task.same], queries["category"], strict=True):
            order = np.argsort(-(g @ vector))
            if task.within:
                order = order[(gallery["category"] == kind).to_numpy()[order]]
            for k in CONFIG.ks:
                hits[k].append(own in set(gallery[task.same].iloc[order[:k]]))
        for k in CONFIG.ks:
            assert evaluation.metrics[f"{name}/recall_at_{k}"] == pytest.approx(np.mean(hits[k]))
            low, high = evaluation.intervals[f"{name}/recall_at_{k}"]
            assert low <= evaluation.metrics[f"{name}/recall_at_{k}"] <= high
        assert evaluation.metrics[f"{name}/queries"] == 24
        rows = evaluation.per_query[evaluation.per_query["task"] == name]
        assert rows["recall_at_5"].mean() == evaluation.metrics[f"{name}/recall_at_5"]
        assert (rows["product_id"].to_numpy() == queries["product_id"].to_numpy()).all()
    assert 0.0 < evaluation.metrics["fine_grained/recall_at_1"] < 1.0
    assert {"accuracy", "nmi", "ari", "purity"} == {
        name.split("/")[1] for name in evaluation.metrics if name.startswith("downstream/")
    }


def test_each_role_and_modality_is_encoded_once() -> None:
    listings, splits = catalog()
    encoder = Encoder()
    run(listings, splits, encoder, query_attributes={})
    assert len(encoder.calls) == 6
    assert len({(modality, ids) for modality, ids, _ in encoder.calls}) == 6
    assert all("t0" not in ids for _, ids, _ in encoder.calls)
    for modality, ids, has_attributes in encoder.calls:
        assert has_attributes == ("l00-0" in ids and modality != "image"), (
            "only queries with text got attributes"
        )


def test_attributes_reach_the_side_they_are_for() -> None:
    listings, splits = catalog()
    texts = dict(zip(listings["listing_id"], listings["product_id"], strict=True))
    plain = run(listings, splits)
    both = run(listings, splits, query_attributes=texts, gallery_attributes=texts)
    assert both.metrics["fine_grained/recall_at_1"] > plain.metrics["fine_grained/recall_at_1"]


def test_without_product_ids_their_tasks_are_left_out() -> None:
    listings, splits = catalog()
    listings["product_id"] = None
    evaluation = run(listings, splits)
    assert evaluation.tasks_without_queries == [name for name in CONFIG.tasks if name != "coarse_grained"]
    assert not any(name.startswith("fine_grained/") for name in evaluation.metrics)
    assert "none of 24 test queries" in evaluation.left_out["fine_grained"]
    assert evaluation.metrics["coarse_grained/queries"] == 24
    assert set(evaluation.per_query["product_id"]) == {f"l{p:02d}-0" for p in range(24)}


def test_without_categories_downstream_is_left_out() -> None:
    listings, splits = catalog()
    listings["category"] = None
    evaluation = run(listings, splits)
    assert set(evaluation.left_out) == {"coarse_grained", "fine_grained_in_category", "downstream"}
    assert not any(name.startswith("downstream/") for name in evaluation.metrics)
    listings[["category", "product_id"]] = None
    nothing = run(listings, splits)
    assert nothing.metrics == {} and nothing.per_query.empty and len(nothing.left_out) == 7


def test_queries_without_a_match_are_counted() -> None:
    listings, splits = catalog()
    listings.loc[listings["listing_id"] == "l03-0", "product_id"] = "only one"
    metrics = run(listings, splits).metrics
    assert metrics["fine_grained/queries"] == 23
    assert metrics["fine_grained/queries_without_relevant"] == 1


def test_in_category_ranks_only_the_querys_own_category() -> None:
    listings, splits = catalog(offers=4)
    of_nobody = listings["listing_id"] == "l00-0"
    moved = listings["listing_id"].isin(["l01-1", "l01-2", "l01-3"])  # its query stays behind
    one_moved = listings["listing_id"] == "l02-1"
    listings.loc[of_nobody, "category"] = None
    listings.loc[moved | one_moved, "category"] = "elsewhere"
    evaluation = run(listings, splits)
    metrics, task = evaluation.metrics, "fine_grained_in_category"
    assert metrics[f"{task}/queries_without_category"] == 1
    assert metrics[f"{task}/queries_without_relevant"] == 1
    assert metrics[f"{task}/queries"] == 22
    assert "fine_grained/queries_without_category" not in metrics
    category = listings.set_index("listing_id")["category"]
    ranked = evaluation.ranked[evaluation.ranked["task"] == task]
    assert (category[ranked["query_id"]].to_numpy() == category[ranked["listing_id"]].to_numpy()).all()
    assert ranked["query_id"].drop_duplicates().tolist() == [f"l{p:02d}-0" for p in range(2, 24)]
    everywhere = evaluation.ranked[evaluation.ranked["task"] == "fine_grained"]
    both = ranked.merge(everywhere, on=["query_id", "listing_id"], suffixes=("", "_everywhere"))
    assert (both["score"] == both["score_everywhere"]).all()
    assert (both["rank"] <= both["rank_everywhere"]).all()
    found = ranked[ranked["query_id"] == "l02-0"]
    assert set(found.loc[found["relevant"], "listing_id"]) <= {"l02-2", "l02-3"}


def test_in_category_ties_go_by_listing_id() -> None:
    listings, splits = catalog(products=6, offers=3)
    evaluation = run(listings, splits, lambda rows, *_: np.ones((len(rows), 4), dtype=np.float32) / 2)
    ranked = evaluation.ranked[evaluation.ranked["task"] == "fine_grained_in_category"]
    for _, found in ranked.groupby("query_id"):
        assert found["listing_id"].is_monotonic_increasing


@pytest.mark.parametrize("empty", [False, True])
def test_saved_and_loaded(tmp_path, empty) -> None:
    listings, splits = catalog()
    if empty:
        listings[["category", "product_id"]] = None
    evaluation = run(listings, splits)
    for _ in range(2):  # a second save replaces the first
        evaluation.save(tmp_path / "evaluation")
    loaded = Evaluation.load(tmp_path / "evaluation")
    assert [p.name for p in tmp_path.iterdir()] == ["evaluation"]
    assert (loaded.metrics, loaded.intervals, loaded.left_out) == (
        evaluation.metrics,
        evaluation.intervals,
        evaluation.left_out,
    )
    pd.testing.assert_frame_equal(loaded.per_query, evaluation.per_query, check_dtype=False)
    pd.testing.assert_frame_equal(loaded.ranked, evaluation.ranked, check_dtype=False)


def test_a_split_that_does_not_fit_is_named() -> None:
    listings, splits = catalog()
    with pytest.raises(ValueError, match="validation split has no query"):
        run(listings, splits, split="validation")
    with pytest.raises(ValueError, match="'l01-1'"):
        run(listings[listings["listing_id"] != "l01-1"], splits)


def test_relevance_never_includes_the_query_itself() -> None:
    listings, _ = catalog(2, 3)
    relevant = relevant_listings(listings, listings, "product_id")
    assert set(relevant["l00-0"]) == {"l00-1", "l00-2"}
    assert "l00-0" not in relevant["l00-0"] and len(relevant["l00-0"]) == 2
