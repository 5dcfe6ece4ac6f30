"""BM25 against bm25s (Lucene variant), rank_bm25 (its saturation, Lucene's IDF) and a loop in float64."""

import math
import random

import bm25s
import numpy as np
import pytest
import rank_bm25
import torch

from afmrl_models.attributes.bm25 import BM25, tokenize

COLOURS = ["red", "dark red", "navy blue", "white", "红色", "深红色", "สีแดง", "赤い"]
SLEEVES = ["short", "long", "sleeveless", "three quarter"]


def _documents(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    texts = [
        f"colour: {rng.choice(COLOURS)}; sleeve: {rng.choice(SLEEVES)}; buttons: {rng.randint(0, 9)}; "
        + " ".join(rng.choices(["red", "cotton", "slim", "fit", "classic"], k=rng.randint(0, 4)))
        for _ in range(count - 2)
    ]
    return [*texts, "", "red red red: red"]


def _loop(documents: list[str], query: int, candidate: int, k1: float, b: float) -> float:
    tokens = [tokenize(document) for document in documents]
    mean = sum(map(len, tokens)) / len(tokens)
    total = 0.0
    for term in tokens[query]:
        having = sum(term in document for document in tokens)
        idf = math.log(1 + (len(tokens) - having + 0.5) / (having + 0.5))
        frequency = tokens[candidate].count(term)
        if frequency:
            total += idf * frequency / (frequency + k1 * (1 - b + b * len(tokens[candidate]) / mean))
    return total


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (0.9, 0.4), (2.0, 0.0), (0.0, 1.0)])
def test_scores_equal_a_loop(k1: float, b: float) -> None:
    documents = _documents(40)
    queries, candidates = [3, 0, 38, 39, 3], [5, 39, 38, 1, 0, 3, 3]
    scores = BM25(documents, k1=k1, b=b).scores(queries, candidates)
    expected = [[_loop(documents, q, c, k1, b) for c in candidates] for q in queries]
    assert scores.dtype == torch.float32
    assert scores.shape == (5, 7)
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_scores_equal_bm25s() -> None:
    documents = _documents(300)
    tokens = [tokenize(document) for document in documents]
    peer = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    peer.index(tokens, show_progress=False)
    expected = np.stack([peer.get_scores(t) if t else np.zeros(len(documents)) for t in tokens])
    everything = range(len(documents))
    np.testing.assert_allclose(
        BM25(documents).scores(everything, everything).numpy(), expected, rtol=1e-4, atol=1e-5
    )


def test_scores_equal_rank_bm25_with_lucene_idf() -> None:
    """Its numerator is tf * (k1 + 1), and its IDF another: divide by the one, hand over the other."""
    documents = _documents(120, seed=3)
    tokens = [tokenize(document) for document in documents]
    peer = rank_bm25.BM25Okapi(tokens, k1=1.2, b=0.75)
    having = {term: sum(term in document for document in tokens) for document in tokens for term in document}
    peer.idf = {term: math.log(1 + (len(tokens) - n + 0.5) / (n + 0.5)) for term, n in having.items()}
    candidates = [7, 119, 118, 2, 2, 50]
    queries = [0, 119, 118, 60]
    expected = [np.array(peer.get_batch_scores(tokens[q], candidates)) / 2.2 for q in queries]
    np.testing.assert_allclose(
        BM25(documents).scores(queries, candidates).numpy(), expected, rtol=1e-5, atol=1e-6
    )


def test_statistics_are_the_whole_catalogs_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = _documents(200)
    bm25 = BM25(documents)
    everything = bm25.scores(range(200), range(200))
    rng = np.random.default_rng(0)
    queries, candidates = rng.integers(0, 200, 30), rng.integers(0, 200, 50)
    assert torch.equal(bm25.scores(queries, candidates), everything[queries][:, candidates])
    monkeypatch.setattr("afmrl_models.attributes.bm25._CANDIDATE_BLOCK", 7)
    assert torch.equal(bm25.scores(queries, candidates), everything[queries][:, candidates])


def test_empty_and_unusual_input() -> None:
    assert torch.equal(BM25(["", ""]).scores([0, 1], [0, 1]), torch.zeros(2, 2))
    assert BM25(["a", "b"]).scores([], [0]).shape == (0, 1)
    assert BM25(["a", "b"]).scores([0], []).shape == (1, 0)
    with pytest.raises(ValueError, match="at least one document"):
        BM25([])
    with pytest.raises(ValueError, match=r"b=1\.5"):
        BM25(["a"], b=1.5)
    with pytest.raises(IndexError, match="queries: document -1"):
        BM25(["a"]).scores([-1], [0])
    with pytest.raises(IndexError, match="candidates: document 1"):
        BM25(["a"]).scores([0], [1])


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Colour: Dark-Red; size: XL", ["colour", "dark", "red", "size", "xl"]),
        ("1.5L, 2,5 kg. Straße", ["1.5l", "2,5", "kg", "strasse"]),
        ("ＡＢＣ １２", ["abc", "12"]),
        ("深红色", ["深红", "红色"]),
        ("红", ["红"]),
        ("Nike红色T恤", ["nike", "红色", "t", "恤"]),
        ("コーヒー", ["コー", "ーヒ", "ヒー"]),
        ("สีแดง", ["สีแ", "แด", "ดง"]),
        ("हिन्दी रंग", ["हिन्दी", "रंग"]),
        ("빨간 셔츠", ["빨간", "셔츠"]),
        ("1.5L, 2,5 kg. 3.", ["1.5l", "2,5", "kg", "3"]),
        ("snake_case a.b", ["snake", "case", "a", "b"]),
        (" ;:!? ", []),
    ],
)
def test_tokens(text: str, terms: list[str]) -> None:
    assert tokenize(text) == terms


def test_the_short_way_for_ascii_splits_as_the_long_way_does() -> None:
    rng = random.Random(0)
    for _ in range(2000):
        text = "".join(rng.choices("aB1,.;: _-", k=rng.randint(0, 12)))
        assert tokenize(text) == tokenize(text + " é")[:-1]


def test_chinese_japanese_and_thai_values_that_share_a_word_score_above_those_that_do_not() -> None:
    for related, other, query in [
        ("深红色", "蓝", "红色"),
        ("赤いシャツ", "青", "白いシャツ"),
        ("เสื้อสีแดง", "หมวก", "สีแดง"),
    ]:
        scores = BM25([query, related, other]).scores([0], [1, 2])[0]
        assert scores[0] > 0 == scores[1], (related, scores)
