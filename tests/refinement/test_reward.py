import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from afmrl_models.refinement.reward import RetrievalReward

TITLES = [
    "red shirt",
    "shirt in red",
    "blue shirt",
    "blue mug",
    "mug, blue",
    "a mug",
    "green mug",
    "mug green",
    "hat",
]
LISTINGS = pd.DataFrame(
    {
        "listing_id": [f"l{i}" for i in (5, 3, 8, 1, 0, 7, 2, 6, 4)],
        "product_id": ["shirt", "shirt", "shirt", "mug", "mug", "mug", "mug", None, None],
        "title": TITLES,
        "category": [
            "clothes",
            "clothes",
            "clothes",
            "kitchen",
            "kitchen",
            "clothes",
            "kitchen",
            None,
            "clothes",
        ],
    }
)


class Images:
    def get(self, listing_id: str) -> Image.Image:
        return Image.new("RGB", (28, 28), (int(listing_id[1:]) * 20, 0, 0))


class Embedder:
    """A stand-in: the vector depends on photo and text, and few values make ties likely."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.seen: list[str] = []

    def eval(self) -> "Embedder":
        return self

    def requires_grad_(self, _: bool) -> "Embedder":
        return self

    def get_embedding_dimension(self) -> int:
        return 3

    def encode(self, inputs: Sequence[dict[str, Any]], **_: Any) -> np.ndarray:
        self.seen += [row["text"] for row in inputs]
        return np.stack([self.vector(row["image"], row["text"]) for row in inputs])

    @staticmethod
    def vector(image: Image.Image, text: str) -> np.ndarray:
        seed = zlib.crc32(text.encode()) + image.getpixel((0, 0))[0]
        return np.random.default_rng(seed).integers(-1, 2, 3).astype(np.float32)


def gallery() -> np.ndarray:
    return np.random.default_rng(7).integers(-1, 2, (len(LISTINGS), 3)).astype(np.float32)


def reward(
    k: int, scope: Any = "all", embedder: Embedder | None = None, metric: Any = "set_recall"
) -> RetrievalReward:
    return RetrievalReward(
        embedder or Embedder(),  # type: ignore[arg-type]
        LISTINGS,
        Images(),  # type: ignore[arg-type]
        k=k,
        invalid_reward=-0.1,
        metric=metric,
        scope=scope,
        gallery=gallery(),
    )


def naive_reward(listing_id: str, text: str, k: int, scope: str, metric: str = "set_recall") -> float:
    """The definition, one pair at a time."""
    rows = LISTINGS.to_dict("records")
    query = next(row for row in rows if row["listing_id"] == listing_id)
    vector = Embedder.vector(Images().get(listing_id), query["title"] + "\n" + text)
    ranked = []
    for row, candidate in zip(rows, gallery(), strict=True):
        if row["listing_id"] == listing_id or (scope == "category" and row["category"] != query["category"]):
            continue
        similarity = sum(float(a) * float(b) for a, b in zip(vector, candidate, strict=True))
        ranked.append((-similarity, row["listing_id"], row["product_id"] == query["product_id"]))
    hits = [match for _, _, match in sorted(ranked)]
    found = [rank for rank, hit in enumerate(hits[:k], start=1) if hit]
    if metric == "mrr":
        return 1 / found[0] if found else 0.0
    if metric == "ndcg":
        ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, sum(hits)) + 1))
        return sum(1 / math.log2(rank + 1) for rank in found) / ideal
    return len(found) / sum(hits)


@pytest.mark.parametrize("scope", ["all", "category"])
@pytest.mark.parametrize("k", [1, 2, 4, 50])
@pytest.mark.parametrize("metric", ["set_recall", "mrr", "ndcg"])
def test_the_reward_is_the_measure_of_the_ranking_at_k(k: int, scope: str, metric: str) -> None:
    ours = reward(k, scope, metric=metric)
    texts = [f"colour: {colour}; size: {size}" for colour in ("red", "blue", "teal") for size in "smlx"]
    queries = [(listing_id, text) for listing_id in ours.query_ids for text in texts]
    scored = ours.score([i for i, _ in queries], [t for _, t in queries])
    expected = [naive_reward(i, t, k, scope, metric) for i, t in queries]
    assert scored.valid.all()
    np.testing.assert_allclose(scored.rewards, expected, atol=1e-6)
    if k < 4:
        assert len(set(expected)) > 1, "a task on which every text scores the same would prove nothing"


def test_a_rank_tells_texts_apart_that_a_recall_rewards_alike() -> None:
    texts = [f"colour: {colour}" for colour in ("red", "blue", "teal", "gold", "pink")]
    recall = reward(50).score(["l5"] * 5, texts).rewards
    rank = reward(50, metric="mrr").score(["l5"] * 5, texts).rewards
    assert len(set(recall.tolist())) == 1
    assert len(set(rank.tolist())) > 1


def test_a_gallery_embedded_here_shows_the_attributes_it_is_given() -> None:
    embedder = Embedder()
    RetrievalReward(
        embedder,  # type: ignore[arg-type]
        LISTINGS,
        Images(),  # type: ignore[arg-type]
        k=1,
        invalid_reward=-0.1,
        gallery_attributes={"l8": "colour: blue"},
    )
    assert "blue shirt\ncolour: blue" in embedder.seen
    assert "red shirt" in embedder.seen


def test_queries_are_the_listings_with_a_true_match() -> None:
    assert reward(2).query_ids == ["l5", "l3", "l8", "l1", "l0", "l7", "l2"]
    assert reward(2).matches("l5") == {"l3", "l8"}
    assert reward(2, "category").query_ids == ["l5", "l3", "l8", "l1", "l0", "l2"]
    with pytest.raises(KeyError, match="l6"):
        reward(2).score(["l6"], ["colour: red"])


@pytest.mark.parametrize("scope", ["all", "category"])
def test_a_query_never_retrieves_itself(scope: str) -> None:
    ours = reward(50, scope)
    for listing_id, found in zip(
        ours.query_ids, ours.retrieve(ours.query_ids, ["colour: red"] * len(ours.query_ids)), strict=True
    ):
        assert found and listing_id not in found


def test_a_text_without_grammar_gets_the_invalid_reward_and_is_not_embedded() -> None:
    embedder = Embedder()
    ours = reward(50, embedder=embedder)
    texts = ["colour: red", "", "no pairs here", "colour: red; colour: blue", "Colour: red", "colour: red"]
    scored = ours.score(["l5"] * 6, texts)
    assert scored.valid.tolist() == [True, False, False, False, False, True]
    np.testing.assert_allclose(scored.rewards, [1, -0.1, -0.1, -0.1, -0.1, 1], atol=1e-6)
    assert embedder.seen == ["red shirt\ncolour: red"]


def test_trl_hands_over_conversations() -> None:
    ours = reward(2)
    conversations = [[{"role": "assistant", "content": text}] for text in ("colour: red", "nonsense")]
    expected = ours.score(["l5", "l1"], ["colour: red", "nonsense"]).rewards.tolist()
    assert ours(prompts=[], completions=conversations, listing_id=["l5", "l1"], completion_ids=[]) == expected


def test_a_catalog_without_a_second_listing_of_any_product_is_refused() -> None:
    lonely = LISTINGS.drop_duplicates("product_id")
    with pytest.raises(ValueError, match="two"):
        RetrievalReward(
            Embedder(),  # type: ignore[arg-type]
            lonely,
            Images(),  # type: ignore[arg-type]
            k=1,
            invalid_reward=-0.1,
            gallery=gallery()[: len(lonely)],
        )
