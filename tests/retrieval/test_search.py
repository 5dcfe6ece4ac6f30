"""Search against a sort of the full float64 matrix, on vectors with many ties."""

import numpy as np
import pytest
import torch

from afmrl_models.retrieval.search import Gallery, SearchError, search


def oracle(queries, gallery, k, query_ids, gallery_ids, exclude=None) -> list[list[str]]:
    scores = queries.astype(np.float64) @ gallery.astype(np.float64).T
    ranked = []
    for row, query_id in zip(scores, query_ids, strict=True):
        banned = {query_id} | set((exclude or {}).get(query_id, ()))
        order = sorted((-s, g) for s, g in zip(row, gallery_ids, strict=True) if g not in banned)
        ranked.append([g for _, g in order[:k]])
    return ranked


def tied_vectors(seed: int, rows: int, dimensions: int = 6) -> np.ndarray:
    """Small whole numbers: float64 products are exact, and many are equal."""
    return np.random.default_rng(seed).integers(-1, 2, (rows, dimensions)).astype(np.float32)


def shuffled_ids(prefix: str, rows: int, seed: int) -> list[str]:
    return [f"{prefix}{i}" for i in np.random.default_rng(seed).permutation(rows)]


@pytest.mark.parametrize("backend", ["faiss", "torch"])
@pytest.mark.parametrize("block", [None, 1, 7])
@pytest.mark.parametrize("k", [1, 5, 50, 400])
def test_search_equals_a_full_sort(backend, block, k) -> None:
    queries, gallery = tied_vectors(0, 33), tied_vectors(1, 300)
    query_ids, gallery_ids = shuffled_ids("q", 33, 2), shuffled_ids("g", 300, 3)
    index = Gallery(gallery, gallery_ids, backend=backend)
    found = index.ids_of(index.search(queries, k, query_ids=query_ids, block=block))
    assert found == oracle(queries, gallery, k, query_ids, gallery_ids)


def test_a_listing_never_retrieves_itself_nor_what_is_excluded() -> None:
    vectors, ids = tied_vectors(4, 60), shuffled_ids("l", 60, 5)
    exclude = {ids[0]: ids[10:30], ids[1]: ["not in the gallery"]}
    found = search(vectors, vectors, 7, query_ids=ids, gallery_ids=ids, exclude=exclude)
    assert found == oracle(vectors, vectors, 7, ids, ids, exclude)
    assert all(query not in row for query, row in zip(ids, found, strict=True))
    everything = search(vectors, vectors, 99, query_ids=ids, gallery_ids=ids)
    assert all(len(row) == 59 for row in everything)


@pytest.mark.parametrize("backend", ["faiss", "torch"])
def test_blocks_do_not_change_real_valued_results(backend) -> None:
    rng = np.random.default_rng(6)
    gallery = rng.standard_normal((500, 33)).astype(np.float32)
    gallery[100:400] = gallery[0]  # 301 equal listings: far more than k
    queries = np.concatenate([gallery[:3], rng.standard_normal((40, 33)).astype(np.float32)])
    query_ids, gallery_ids = shuffled_ids("q", 43, 7), shuffled_ids("g", 500, 8)
    index = Gallery(gallery, gallery_ids, backend=backend)
    whole = index.search(queries, 20, query_ids=query_ids)
    for block in (1, 5, 16, 43):
        part = index.search(queries, 20, query_ids=query_ids, block=block)
        np.testing.assert_array_equal(part.positions, whole.positions)
        np.testing.assert_array_equal(part.scores, whole.scores)
    equal = sorted(gallery_ids[i] for i in [0, *range(100, 400)])
    assert index.ids_of(whole)[0] == equal[:20]
    np.testing.assert_allclose(whole.scores[:, 0], (queries @ gallery.T).max(axis=1), rtol=1e-5)


def test_repeated_query_ids_and_empty_sides() -> None:
    vectors = tied_vectors(9, 4)
    assert search(vectors, vectors, 2, query_ids=["a"] * 4, gallery_ids=list("wxyz"))[0]
    assert search(vectors, vectors[:0], 2, query_ids=list("abcd"), gallery_ids=[]) == [[], [], [], []]
    assert search(vectors[:0], vectors, 2, query_ids=[], gallery_ids=list("wxyz")) == []
    assert search(vectors[:1], vectors[:1], 2, query_ids=["a"], gallery_ids=["a"]) == [[]]


def test_bad_input_is_named() -> None:
    good = tied_vectors(0, 3)
    with pytest.raises(SearchError, match="'b' occurs more than once"):
        Gallery(good, ["a", "b", "b"])
    with pytest.raises(SearchError, match="3 gallery vectors, but 2 gallery ids"):
        Gallery(good, ["a", "b"])
    broken = good.copy()
    broken[1, 0] = np.nan
    with pytest.raises(SearchError, match=r"row 1 \('y'\)"):
        search(broken, good, 1, query_ids=list("xyz"), gallery_ids=list("abc"))
    with pytest.raises(SearchError, match="5 dimensions, the gallery has 6"):
        search(good[:, :5], good, 1, query_ids=list("xyz"), gallery_ids=list("abc"))
    with pytest.raises(SearchError, match="k must be"):
        search(good, good, 0, query_ids=list("xyz"), gallery_ids=list("abc"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_and_cpu_agree_even_with_tf32_on() -> None:
    rng = np.random.default_rng(10)
    gallery = rng.standard_normal((5000, 64)).astype(np.float32)
    gallery[1000:2000] = gallery[:1000]
    ids = shuffled_ids("g", 5000, 11)
    queries = rng.standard_normal((300, 64)).astype(np.float32)
    arguments = {"query_ids": [f"q{i}" for i in range(300)], "gallery_ids": ids}
    torch.set_float32_matmul_precision("medium")
    try:
        on_gpu = search(queries, gallery, 10, device="cuda", **arguments)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert on_gpu == search(queries, gallery, 10, **arguments)
