"""Which refined texts are shown, and that the page is self-contained and escaped."""

import re

import pandas as pd
from PIL import Image

from afmrl_models.retrieval.evaluation import Evaluation
from afmrl_models.retrieval.refined_texts import refined_texts, refined_texts_html

LISTINGS = pd.DataFrame({"listing_id": [*"abcd", "g1", "g2"], "title": ["<b>t</b>"] * 6})


class Photos:
    def get(self, listing_id: str) -> Image.Image:
        return Image.new("RGB", (28, 28))


def evaluation(ranks: dict[str, int]) -> Evaluation:
    """Each query's match at this rank of two; 0: at none."""
    ranked = pd.DataFrame(
        [
            ("fine_grained", query, rank, f"g{rank}", 0.5, rank == match)
            for query, match in ranks.items()
            for rank in (1, 2)
        ],
        columns=["task", "query_id", "rank", "listing_id", "score", "relevant"],
    )  # fmt: skip
    return Evaluation({}, {}, pd.DataFrame(), ranked, {})


def test_only_texts_that_moved_a_rank_are_shown_the_furthest_first() -> None:
    rows = refined_texts(
        evaluation({"a": 2, "b": 1, "c": 2, "d": 1}),
        evaluation({"a": 1, "b": 0, "c": 1, "d": 1}),
        dict.fromkeys("abcd", "size: m"),
        {"a": "size: l", "b": "<script>", "c": "size: m", "d": "size: xl"},
        LISTINGS,
    )
    seen = [(row.query_id, row.rank_before, row.rank_after, row.better) for row in rows]
    assert seen == [("b", 1, None, False), ("a", 2, 1, True)]
    page = refined_texts_html(rows, Photos(), "What <RAR> changed")
    assert "<script" not in page and "&lt;script&gt;" in page and "<b>" not in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 6 and all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "below the top" in page


def test_a_query_without_a_valid_text_counts_as_silent() -> None:
    (row,) = refined_texts(evaluation({"a": 0}), evaluation({"a": 2}), {}, {"a": "size: l"}, LISTINGS)
    assert row.text_before == "" and row.better
    assert "(no valid text)" in refined_texts_html([row], Photos(), "t")
