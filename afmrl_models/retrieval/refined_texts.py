"""Queries whose refined attribute text moved the rank of the true match: rows, and a page with photos."""

from collections.abc import Mapping, Sequence

import pandas as pd

from afmrl_models.catalog.inline_photo import inline_photo
from afmrl_models.config.tasks import TaskName
from afmrl_models.retrieval.contact_sheet import Photos
from afmrl_models.retrieval.evaluation import Evaluation
from afmrl_models.retrieval.moved_queries import MovedQuery, moved_queries
from afmrl_models.retrieval.pages import templates

_HEADINGS = {True: "The refined text found the match sooner", False: "The refined text lost it"}


def refined_texts(
    before: Evaluation,
    after: Evaluation,
    texts_before: Mapping[str, str],
    texts_after: Mapping[str, str],
    listings: pd.DataFrame,
    task: TaskName = "fine_grained",
) -> list[MovedQuery]:
    """All queries whose text and whose rank differ, as `moved_queries` orders them.

    Both evaluations: one embedder and one gallery, other texts.
    """
    moved = moved_queries(before, after, texts_before, texts_after, listings, task)
    return [row for row in moved if row.text_before != row.text_after]


def refined_texts_html(rows: Sequence[MovedQuery], photos: Photos, title: str, *, most: int = 12) -> str:
    """A page that needs no other file: `most` of the better and of the worse; catalog text is escaped."""
    parts = [
        (heading, sum(row.better == better for row in rows), [r for r in rows if r.better == better][:most])
        for better, heading in _HEADINGS.items()
    ]
    return (
        templates("afmrl_models.retrieval")
        .get_template("refined_texts.html.jinja")
        .render(title=title, parts=parts, photo=lambda listing_id: inline_photo(photos.get(listing_id)))
    )
