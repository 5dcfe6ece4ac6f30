"""Contact sheets: which queries are shown, and that the pictures and the page show them."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageColor

from afmrl_models.retrieval.contact_sheet import (
    NEUTRAL,
    RIGHT,
    WRONG,
    contact_sheet,
    contact_sheet_html,
    sheet_rows,
)
from afmrl_models.retrieval.evaluation import Evaluation


class Photos:
    """A plain photo for each listing, and a list of those asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get(self, listing_id: str) -> Image.Image:
        self.asked.append(listing_id)
        return Image.new("RGB", (28, 28), (10, 20, 30))


def evaluation(ranks: list[int]) -> tuple[Evaluation, pd.DataFrame]:
    """Query i finds its match at ranks[i] of five results (0: not at all)."""
    ranked = pd.DataFrame(
        [
            {
                "task": "fine_grained",
                "query_id": f"q{i}",
                "rank": r,
                "listing_id": f"g{r}",
                "score": 1 - 0.1 * r,
                "relevant": r == match,
            }
            for i, match in enumerate(ranks)
            for r in range(1, 6)
        ]
    )
    scores = pd.DataFrame(
        {
            "task": "fine_grained",
            "query_id": [f"q{i}" for i in range(len(ranks))],
            "product_id": "p",
            "mrr_at_1": [float(r == 1) for r in ranks],
            "mrr_at_5": [1 / r if r else 0.0 for r in ranks],
        }
    )
    ids = [f"q{i}" for i in range(len(ranks))] + [f"g{r}" for r in range(1, 6)]
    titles = [
        "<script>alert('x')</script> & 红色 連衣裙" if i == "q0" else f"title of {i} " * 30 for i in ids
    ]
    listings = pd.DataFrame({"listing_id": ids, "title": titles})
    return Evaluation({}, {}, scores, ranked, {"text_to_image": "no photos"}), listings


def test_the_worst_come_first_then_the_best() -> None:
    rows = sheet_rows(*evaluation([1, 0, 3, 1, 2, 5]), worst=2, best=3, top=4)
    assert [(row.query_id, row.kind) for row in rows] == [
        ("q1", "worst"),
        ("q5", "worst"),
        ("q3", "best"),
        ("q0", "best"),
        ("q4", "best"),
    ]
    assert [found.rank for found in rows[0].found] == [1, 2, 3, 4]
    assert [found.relevant for found in rows[4].found] == [False, True, False, False]
    assert all(len(row.title) <= 200 for row in rows)


def test_few_queries_are_shown_once() -> None:
    rows = sheet_rows(*evaluation([1, 0]), worst=8, best=4)
    assert [row.query_id for row in rows] == ["q1", "q0"]


def test_picture_frames_results_right_and_wrong() -> None:
    rows = sheet_rows(*evaluation([1, 0, 2]), worst=2, best=1)
    photos = Photos()
    sheet = contact_sheet(rows, photos, cell=64)
    assert len(photos.asked) == 3 * 6
    pixels = np.asarray(sheet)
    frame = 2 * 4 * (64 + 64 + 8)  # a frame of 4 pixels around a photo of 64
    for colour, count in ((NEUTRAL, 3), (RIGHT, 2), (WRONG, 13)):
        area = (pixels == ImageColor.getrgb(colour)).all(axis=2).sum()
        assert count * frame <= area < count * frame * 1.5, "the captions have the frame's colour"
    assert (pixels == (10, 20, 30)).all(axis=2).sum() == 18 * 64 * 64
    with pytest.raises(ValueError, match="at least one query"):
        contact_sheet([], photos)


def test_page_is_self_contained_and_escaped() -> None:
    rows = sheet_rows(*evaluation([1, 0, 2]))
    page = contact_sheet_html(rows, Photos(), "Fine-grained <test>")
    assert "<script" not in page and "&lt;script&gt;" in page and "红色 連衣裙" in page
    assert "<title>Fine-grained &lt;test&gt;</title>" in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 18 and all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert page.count('class="right"') == 2 and page.count('class="wrong"') == 13


def test_a_task_that_was_left_out_says_why() -> None:
    with pytest.raises(ValueError, match="text_to_image has no queries: no photos"):
        sheet_rows(*evaluation([1]), "text_to_image")
    with pytest.raises(ValueError, match="image_to_text has no queries: it was not evaluated"):
        sheet_rows(*evaluation([1]), "image_to_text")
    nothing, listings = evaluation([1])
    nothing = Evaluation({}, {}, nothing.per_query[:0], nothing.ranked[:0], nothing.left_out)
    with pytest.raises(ValueError, match="no task was evaluated"):
        sheet_rows(nothing, listings)
