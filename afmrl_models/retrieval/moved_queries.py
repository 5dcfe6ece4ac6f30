"""Queries whose true match moved between two evaluations of the same queries: sooner, later, found, lost."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from afmrl_models.config.tasks import TaskName
from afmrl_models.retrieval.evaluation import Evaluation


@dataclass(frozen=True)
class MovedQuery:
    """A query and the rank of its first true match, before and after (None: not in the recorded top).

    top: what was found first. match: the true match of the better rank.
    """

    query_id: str
    title: str
    text_before: str
    text_after: str
    rank_before: int | None
    rank_after: int | None
    top_before: str
    top_after: str
    match: str

    @property
    def better(self) -> bool:
        """The match is found sooner after."""
        return (self.rank_after or float("inf")) < (self.rank_before or float("inf"))


def moved_queries(
    before: Evaluation,
    after: Evaluation,
    texts_before: Mapping[str, str],
    texts_after: Mapping[str, str],
    listings: pd.DataFrame,
    task: TaskName = "fine_grained",
) -> list[MovedQuery]:
    """All queries of both whose rank differs, those that moved furthest first (then by query id).

    texts: valid ones by listing id. Distances are those of reciprocal ranks; a match below the recorded top
    counts as infinitely far.
    """
    first, tops = first_matches(before, task), _tops(before, task)
    then, tops_then = first_matches(after, task), _tops(after, task)
    titles = dict(zip(listings["listing_id"], listings["title"], strict=True))
    none = (None, "")
    rows = []
    for query in sorted(set(tops) & set(tops_then)):
        (rank, match), (rank_then, match_then) = first.get(query, none), then.get(query, none)
        if rank != rank_then:
            row = MovedQuery(
                query_id=query,
                title=titles[query],
                text_before=texts_before.get(query, ""),
                text_after=texts_after.get(query, ""),
                rank_before=rank,
                rank_after=rank_then,
                top_before=tops[query],
                top_after=tops_then[query],
                match=match,
            )
            rows.append(row if not row.better else replace(row, match=match_then))
    return sorted(rows, key=lambda row: -abs(_reciprocal(row.rank_after) - _reciprocal(row.rank_before)))


def first_matches(evaluation: Evaluation, task: str) -> dict[str, tuple[int, str]]:
    """Query id -> rank and listing id of its first true match; a query without one in the top is absent."""
    ranked = evaluation.ranked[evaluation.ranked["task"] == task]
    right = ranked[ranked["relevant"].astype(bool)].sort_values("rank", kind="stable")
    right = right.drop_duplicates("query_id")
    return {
        str(query): (int(rank), str(listing_id))
        for query, rank, listing_id in zip(right["query_id"], right["rank"], right["listing_id"], strict=True)
    }


def _tops(evaluation: Evaluation, task: str) -> dict[str, str]:
    ranked = evaluation.ranked
    top = ranked[(ranked["task"] == task) & (ranked["rank"] == 1)]
    return dict(zip(top["query_id"], top["listing_id"], strict=True))


def _reciprocal(rank: int | None) -> float:
    return 1 / rank if rank else 0.0
