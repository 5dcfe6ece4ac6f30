"""Metrics against pytrec_eval, and M5Product's mAP against a loop written from its definition."""

import numpy as np
import pytest
import pytrec_eval

from afmrl_models.retrieval.metrics import MetricsError, evaluate, per_query

KS = (1, 3, 5, 10)


def random_runs(seed: int, queries: int = 40, gallery: int = 30, depth: int = 12):
    rng = np.random.default_rng(seed)
    ids = [f"g{i}" for i in range(gallery)]
    ranked = {f"q{i}": [str(x) for x in rng.permutation(ids)[:depth]] for i in range(queries)}
    relevant = {
        query: {str(x) for x in rng.choice(ids, size=rng.integers(0, 9), replace=False)} for query in ranked
    }
    return ranked, relevant


@pytest.mark.parametrize("seed", range(3))
def test_metrics_agree_with_trec_eval(seed: int) -> None:
    ranked, relevant = random_runs(seed)
    judged = {q: dict.fromkeys(items, 1) for q, items in relevant.items() if items}
    names = {
        "success": "recall",
        "recall": "set_recall",
        "P": "precision",
        "map_cut": "map_cut",
        "ndcg_cut": "ndcg",
    }
    cuts = ",".join(map(str, KS))
    evaluator = pytrec_eval.RelevanceEvaluator(judged, {f"{name}.{cuts}" for name in names})
    run = {
        q: {item: float(-rank) for rank, item in enumerate(items)}
        for q, items in ranked.items()
        if q in judged
    }
    expected = evaluator.evaluate(run)
    ours = per_query(ranked, relevant, KS)
    assert set(ours.index) == set(expected)
    for query, values in expected.items():
        for theirs, name in names.items():
            for k in KS:
                assert ours.loc[query, f"{name}_at_{k}"] == pytest.approx(values[f"{theirs}_{k}"], abs=1e-9)
    means = evaluate(ranked, relevant, KS)
    assert means["queries"] == len(judged)
    assert means["queries_without_relevant"] == len(ranked) - len(judged)
    assert means["ndcg_at_10"] == pytest.approx(np.mean([v["ndcg_cut_10"] for v in expected.values()]))


@pytest.mark.parametrize("k", KS)
def test_reciprocal_rank_agrees_with_trec_eval_on_cut_runs(k: int) -> None:
    ranked, relevant = random_runs(5)
    judged = {q: dict.fromkeys(items, 1) for q, items in relevant.items() if items}
    run = {q: {x: float(-r) for r, x in enumerate(items[:k])} for q, items in ranked.items() if q in judged}
    expected = pytrec_eval.RelevanceEvaluator(judged, {"recip_rank"}).evaluate(run)
    ours = per_query(ranked, relevant, [k])
    for query, values in expected.items():
        assert ours.loc[query, f"mrr_at_{k}"] == pytest.approx(values["recip_rank"])


def m5product_average_precision(items: list[str], relevant: set[str], k: int) -> float:
    """Mean precision at the ranks of the relevant items found, no deeper than there are relevant items."""
    found, total = 0, 0.0
    for rank in range(1, min(k, len(relevant)) + 1):
        if items[rank - 1] in relevant:
            found += 1
            total += found / rank
    return total / found if found else 0.0


@pytest.mark.parametrize("seed", range(3))
def test_map_is_m5products(seed: int) -> None:
    ranked, relevant = random_runs(seed)
    means = evaluate(ranked, relevant, KS)
    for k in KS:
        expected = np.mean(
            [m5product_average_precision(ranked[q], relevant[q], k) for q in ranked if relevant[q]]
        )
        assert means[f"map_at_{k}"] == pytest.approx(expected)


def test_map_by_hand() -> None:
    means = evaluate({"q": ["x", "a", "b", "c"]}, {"q": ["a", "b", "c"]}, [1, 3, 4])
    assert means["map_at_1"] == 0.0
    assert means["map_at_3"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert means["map_at_4"] == means["map_at_3"], "k is capped at the three relevant items"
    assert means["map_cut_at_4"] == pytest.approx((1 / 2 + 2 / 3 + 3 / 4) / 3)
    assert means["recall_at_3"] == 1.0
    assert means["set_recall_at_3"] == pytest.approx(2 / 3)
    assert means["precision_at_3"] == pytest.approx(2 / 3)


def test_a_list_shorter_than_k_still_divides_precision_by_k() -> None:
    assert evaluate({"q": ["a"]}, {"q": ["a"]}, [5])["precision_at_5"] == pytest.approx(1 / 5)


def test_without_relevant_items_only_counts_are_returned() -> None:
    assert evaluate({"q": ["a"], "r": []}, {"q": []}, [1]) == {
        "queries": 0.0,
        "queries_without_relevant": 2.0,
    }
    assert evaluate({}, {}, [1]) == {"queries": 0.0, "queries_without_relevant": 0.0}


def test_an_empty_list_counts_as_a_miss() -> None:
    assert evaluate({"q": []}, {"q": ["a"]}, [1])["recall_at_1"] == 0.0


def test_inconsistent_input_is_named() -> None:
    with pytest.raises(MetricsError, match=r"'q'.*'a' is ranked twice"):
        evaluate({"q": ["a", "b", "a"]}, {"q": ["a"]}, [1])
    with pytest.raises(MetricsError, match="'z' has relevant items but no ranked list"):
        evaluate({"q": ["a"]}, {"z": ["a"]}, [1])
    for ks in ([], [0], [1, 1]):
        with pytest.raises(MetricsError, match="ks must be"):
            evaluate({"q": ["a"]}, {"q": ["a"]}, ks)
