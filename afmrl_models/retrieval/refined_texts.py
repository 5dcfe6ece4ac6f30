"""Queries whose refined attribute text moved the rank of the true match: rows, and a page with photos."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jinja2
import pandas as pd

from afmrl_models.config.tasks import TaskName
from afmrl_models.retrieval.contact_sheet import Photos
from afmrl_models.retrieval.evaluation import Evaluation

_HEADINGS = {True: "The refined text found the match sooner", False: "The refined text lost it"}


@dataclass(frozen=True)
class RefinedText:
    """A query, its text before and after, and the rank of its first true match (None: not in the top)."""

    query_id: str
    title: str
    text_before: str
    text_after: str
    rank_before: int | None
    rank_after: int | None
    top_before: str
    top_after: str

    @property
    def better(self) -> bool:
        """The match is found sooner with the refined text."""
        return (self.rank_after or float("inf")) < (self.rank_before or float("inf"))


def refined_texts(
    before: Evaluation,
    after: Evaluation,
    texts_before: Mapping[str, str],
    texts_after: Mapping[str, str],
    listings: pd.DataFrame,
    task: TaskName = "fine_grained",
) -> list[RefinedText]:
    """All queries whose text and whose rank differ, those that moved furthest first (then by query id).

    Both evaluations: one embedder and one gallery, other texts. texts: valid ones by listing id. Distances
    are those of reciprocal ranks; a match below the recorded top counts as infinitely far.
    """
    ranks, tops = zip(*(_first(evaluation, task) for evaluation in (before, after)), strict=True)
    titles = dict(zip(listings["listing_id"], listings["title"], strict=True))
    rows = [
        RefinedText(
            query,
            titles[query],
            texts_before.get(query, ""),
            texts_after.get(query, ""),
            ranks[0].get(query),
            ranks[1].get(query),
            tops[0][query],
            tops[1][query],
        )
        for query in sorted(set(tops[0]) & set(tops[1]))
    ]
    moved = [row for row in rows if row.text_before != row.text_after and row.rank_before != row.rank_after]
    return sorted(moved, key=lambda row: -abs(_reciprocal(row.rank_after) - _reciprocal(row.rank_before)))


def refined_texts_html(rows: Sequence[RefinedText], photos: Photos, title: str, *, most: int = 12) -> str:
    """A page that needs no other file: `most` of the better and of the worse; catalog text is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("afmrl_models.retrieval", package_path=""),
        autoescape=True,
        trim_blocks=True,
    )

    def photo(listing_id: str) -> str:
        buffer = io.BytesIO()
        photos.get(listing_id).convert("RGB").save(buffer, "PNG")
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

    parts = [
        (heading, sum(row.better == better for row in rows), [r for r in rows if r.better == better][:most])
        for better, heading in _HEADINGS.items()
    ]
    return environment.get_template("refined_texts.html.jinja").render(title=title, parts=parts, photo=photo)


def _first(evaluation: Evaluation, task: str) -> tuple[dict[str, int], dict[str, str]]:
    """Query id -> rank of the first relevant result, and -> the listing at rank 1."""
    ranked = evaluation.ranked[evaluation.ranked["task"] == task]
    ranks = ranked[ranked["relevant"].astype(bool)].groupby("query_id")["rank"].min()
    top = ranked[ranked["rank"] == 1]
    return (
        {str(query): int(rank) for query, rank in ranks.items()},
        dict(zip(top["query_id"], top["listing_id"], strict=True)),
    )


def _reciprocal(rank: int | None) -> float:
    return 1 / rank if rank else 0.0
