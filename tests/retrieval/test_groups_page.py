"""The page of groups: figures, pairs and groups are on it, escaped, and what is left out is counted."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from afmrl_models.retrieval.calibration import Calibration, Quality, Share
from afmrl_models.retrieval.confidence import ConfidenceCurve, Reliability
from afmrl_models.retrieval.groups_page import GroupsReport, groups_page
from afmrl_models.retrieval.reviewed import ReviewError, hand_in, read_reviewed

HOSTILE = "<script>alert('x')</script> & 红色"


class Photos:
    def get(self, listing_id: str) -> Image.Image:
        return Image.new("RGB", (28, 28), (10, 20, 30))


def report(
    groups: int = 3, pairs: int = 2, threshold: float | None = 0.8
) -> tuple[GroupsReport, pd.DataFrame]:
    """Group g holds g + 2 listings."""
    rows = [(f"g{g}", f"g{g}-{i}", 0.9 - 0.01 * i, i == 1, 0.95) for g in range(groups) for i in range(g + 2)]
    found = pd.DataFrame(rows, columns=["group_id", "listing_id", "score", "reviewed", "confidence"])
    why = ("unsure", "chain", "contradiction")
    asked = [
        (f"l{p}", f"r{p}", 0.7, 0.6 - 0.01 * p, None, "g0" if p else None, why[p % 3], None)
        for p in range(pairs)
    ]
    names = ["left_id", "right_id", "similarity", "confidence", "left_group", "right_group", "reason"]
    curve = ConfidenceCurve("platt", (0.0, 1.0), (0.1, 0.9))
    quality = Quality(Share(0.9, 0.85, 0.95, 120), Share(0.5, 0.4, 0.6, 300), 4)
    nothing = Quality(Share(None, None, None, 0), Share(0.0, 0.0, 0.0, 300), 0)
    measured = quality if threshold else nothing
    ids = found["listing_id"].tolist() + [f"{side}{p}" for p in range(pairs) for side in "lr"]
    listings = pd.DataFrame(
        {"listing_id": ids, "title": HOSTILE, "category": "lamps", "seller": None}, dtype=object
    )
    made = GroupsReport(
        profile="shop",
        model="models:/shop-embedder/3",
        listings=50,
        groups=found,
        pairs=pd.DataFrame(asked, columns=[*names, "decision"]),
        pairs_left_out=7,
        calibration=Calibration(threshold, 0.9, curve, (), 0.44, 0.05, "abcdef0123456789"),
        measured={"validation": measured, "test": measured},
        on_test=Reliability(500, 0.12, 0.13, 0.037, ()),
        answers="reviewed_pairs.csv",
    )
    return made, listings


def test_figures_pairs_and_groups_are_shown_with_photos_inside() -> None:
    page = groups_page(*report(), Photos())
    assert "3 groups of identical products" in page and "9 of 50 listings" in page
    assert "90.0 %" in page and "95 % interval 85.0 to 95.0 %, 120 pairs" in page
    assert "50.0 %" in page and "0.037" in page and "4 pairs with a listing of unknown product" in page
    assert page.count("data:image/jpeg;base64,") == 9 + 4
    assert page.index("g2-0") < page.index("g1-0") < page.index("g0-0"), "the largest group comes first"
    assert "reviewed</dd>" in page and "2 of 9" in page
    assert set(re.findall(r'(?:src|href)="([^"]{0,5})', page)) == {"data:"}


def test_catalog_text_is_escaped_in_the_page() -> None:
    page = groups_page(*report(), Photos())
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page and "红色" in page


def test_what_is_above_the_bounds_is_counted() -> None:
    page = groups_page(*report(groups=30, pairs=9), Photos(), most_groups=2, most_members=5, most_pairs=3)
    assert page.count("data:image/jpeg;base64,") == 2 * 5 + 3 * 2
    assert "2 of 30, the largest" in page and "3 of 16" in page
    assert "and 26 more" in page and "and 25 more" in page


def test_where_nothing_is_grouped_the_page_says_why() -> None:
    page = groups_page(*report(groups=0, threshold=None), Photos())
    assert "0 groups" in page and "no similarity threshold reaches" in page and "44.0 %" in page
    assert "no case to measure it on" in page


def test_figures_that_do_not_exist_are_not_logged() -> None:
    figures = report()[0].metrics()
    assert figures["test/precision"] == 0.9 and figures["ambiguous_pairs"] == 9
    json.dumps(figures, allow_nan=False)
    none = report(groups=0, threshold=None)[0].metrics()
    assert "threshold" not in none and "test/precision" not in none and none["test/recall"] == 0.0


def test_answers_are_handed_in_once(tmp_path: Path) -> None:
    answers, kept = tmp_path / "answers.csv", tmp_path / "kept.csv"
    answers.write_text('left_id,right_id,decision\n"a, or ""b""",c,same\nd,e,different\n', encoding="utf-8")
    assert hand_in(answers, kept) == 2
    assert hand_in(answers, kept) == 0, "answers in force are not added again"
    assert read_reviewed(kept).same == {('a, or "b"', "c")}
    answers.write_text("left_id,right_id,decision\na,c,maybe\n", encoding="utf-8")
    with pytest.raises(ReviewError, match=r"answers\.csv: row 1: 'maybe'"):
        hand_in(answers, kept)
    with pytest.raises(ReviewError, match="no such file"):
        hand_in(tmp_path / "none.csv", kept)
