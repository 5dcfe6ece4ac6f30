"""Binary retrieval metrics of ranked lists, each under the name of the toolkit that defines it."""

import math
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet

import pandas as pd

from afmrl_models.errors import UserError

METRICS = ("recall", "set_recall", "precision", "precision_capped", "map", "map_cut", "mrr", "ndcg")


class MetricsError(UserError):
    """The ranked lists and relevance judgements do not fit together; the message names the query."""


def evaluate(
    ranked: Mapping[str, Sequence[str]],
    relevant: Mapping[str, Collection[str]],
    ks: Sequence[int],
) -> dict[str, float]:
    """Mean metrics over the queries that have a relevant gallery item, and how many those are.

    `ranked` is query id -> gallery ids, best first; `relevant` is query id -> relevant gallery ids. Keys for
    each k: `recall_at_k` (hit rate), `set_recall_at_k`, `precision_at_k`, `precision_capped_at_k` and
    `map_at_k` (M5Product's and Product1M's), `map_cut_at_k` (trec_eval's), `mrr_at_k`, `ndcg_at_k`; and
    `queries`, `queries_without_relevant`. When no query is left, only the two counts are returned. Raises
    MetricsError as `per_query` does.
    """
    frame = per_query(ranked, relevant, ks)
    counts = {
        "queries": float(len(frame)),
        "queries_without_relevant": float(len(ranked) - len(frame)),
    }
    if frame.empty:
        return counts
    return {str(name): float(value) for name, value in frame.mean().items()} | counts


def per_query(
    ranked: Mapping[str, Sequence[str]],
    relevant: Mapping[str, Collection[str]],
    ks: Sequence[int],
) -> pd.DataFrame:
    """The metrics of each query with a relevant item: index `query_id` in `ranked`'s order, float64 columns.

    Raises MetricsError for a k below 1 or given twice, for a gallery id that occurs twice in one list, and
    for a query with relevant items but no ranked list (left out silently, it would flatter the mean).
    """
    check_ks(ks)
    unranked = next((query for query, items in relevant.items() if len(items) and query not in ranked), None)
    if unranked is not None:
        raise MetricsError(f"query {unranked!r} has relevant items but no ranked list")
    rows: dict[str, dict[str, float]] = {}
    for query, items in ranked.items():
        if len(set(items)) != len(items):
            twice = next(item for item in items if list(items).count(item) > 1)
            raise MetricsError(f"query {query!r}: gallery item {twice!r} is ranked twice")
        matches = relevant.get(query, ())
        if not isinstance(matches, AbstractSet):
            matches = frozenset(matches)
        if matches:
            hits = [item in matches for item in items[: max(ks)]]
            rows[query] = query_metrics(hits, len(matches), ks)
    columns = [f"{name}_at_{k}" for k in ks for name in METRICS]
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float)
    frame.index = pd.Index(list(rows), dtype=object, name="query_id")
    return frame


def check_ks(ks: Sequence[int]) -> None:
    """MetricsError unless ks are different whole numbers from 1 up, at least one."""
    if not ks or any(k < 1 for k in ks) or len(set(ks)) != len(ks):
        raise MetricsError(f"ks must be different numbers from 1 up, got {list(ks)}")


def query_metrics(hits: Sequence[bool], relevant: int, ks: Sequence[int]) -> dict[str, float]:
    """One query's `<name>_at_<k>`: which of its ranked items are relevant, and how many are to be found."""
    hit_ranks = [rank for rank, hit in enumerate(hits, start=1) if hit]
    precisions = [found / rank for found, rank in enumerate(hit_ranks, start=1)]
    metrics: dict[str, float] = {}
    for k in ks:
        found = sum(rank <= k for rank in hit_ranks)
        # The benchmarks' toolkits look no deeper than there are relevant and ranked items: Prec divides by
        # that depth, and AP averages over the relevant items found down to it.
        depth = min(k, relevant, len(hits))
        found_capped = sum(rank <= depth for rank in hit_ranks)
        gain = math.fsum(1 / math.log2(rank + 1) for rank in hit_ranks[:found])
        ideal = math.fsum(1 / math.log2(rank + 1) for rank in range(1, min(k, relevant) + 1))
        metrics[f"recall_at_{k}"] = float(found > 0)
        metrics[f"set_recall_at_{k}"] = found / relevant
        metrics[f"precision_at_{k}"] = found / k
        metrics[f"precision_capped_at_{k}"] = found_capped / depth if depth else 0.0
        metrics[f"map_at_{k}"] = math.fsum(precisions[:found_capped]) / found_capped if found_capped else 0.0
        metrics[f"map_cut_at_{k}"] = math.fsum(precisions[:found]) / relevant
        metrics[f"mrr_at_{k}"] = 1 / hit_ranks[0] if found else 0.0
        metrics[f"ndcg_at_{k}"] = gain / ideal
    return metrics
