"""The index on disk: what it holds, what it refuses, and IVF-PQ against exact search."""

import json

import numpy as np
import pytest

from afmrl_models.config.release import ProductIndexConfig
from afmrl_models.retrieval.index import (
    IndexFileError,
    Origin,
    build_index,
    check_vectors,
    demand_origin,
    load_index,
)
from afmrl_models.retrieval.recipes import Recipe, choose_recipe
from afmrl_models.retrieval.search import SearchError

ORIGIN = Origin("models:/demo-embedder/3", "0123", "models:/demo-generator/2", "4567")


def unit(rows: int, dimensions: int, seed: int = 0) -> np.ndarray:
    """Unit vectors around a few centres."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((50, dimensions), dtype=np.float32)
    vectors = centres[rng.integers(50, size=rows)] + rng.standard_normal((rows, dimensions), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_index_saved_and_loaded(tmp_path) -> None:
    vectors = unit(80, 8)
    ids = [f"Жё-{i}" for i in range(len(vectors))]
    build_index(vectors[:5], ids[:5], Origin("old", ""), tmp_path / "index")
    built = build_index(vectors, ids, ORIGIN, tmp_path / "index")
    loaded = load_index(tmp_path / "index")
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    assert (loaded.ids, loaded.origin, loaded.recipe) == (ids, ORIGIN, Recipe("Flat"))
    found = loaded.search(vectors[:4], 3, query_ids=ids[:4])
    np.testing.assert_array_equal(found.positions, built.search(vectors[:4], 3, query_ids=ids[:4]).positions)
    scores = (vectors[:4] @ vectors.T).astype(float)
    scores[range(4), range(4)] = -np.inf  # a listing never finds itself
    np.testing.assert_array_equal(found.positions, np.argsort(-scores, axis=1)[:, :3])
    assert (loaded.search(vectors[:1], 500, query_ids=["q"]).positions >= 0).sum() == len(ids)
    np.testing.assert_array_equal(loaded.vectors, vectors)
    assert check_vectors(loaded, ids)["sound"]
    with pytest.raises(SearchError, match="3 dimensions, the index has 8"):
        loaded.search(vectors[:1, :3], 1, query_ids=["q"])


def test_index_refuses_what_it_could_not_read_back(tmp_path) -> None:
    vectors = unit(2, 8)
    with pytest.raises(SearchError, match="'a' occurs more than once"):
        build_index(vectors, ["a", "a"], ORIGIN, tmp_path / "index")
    with pytest.raises(SearchError, match="not one line"):
        build_index(vectors, ["a", "b\nc"], ORIGIN, tmp_path / "index")
    assert not list(tmp_path.iterdir())


def test_index_refuses_another_ones_parts_and_another_model(tmp_path) -> None:
    place = tmp_path / "index"
    build_index(unit(20, 8, 1), [f"l{i}" for i in range(20)], ORIGIN, tmp_path / "other")
    index = build_index(unit(20, 8), [f"l{i}" for i in range(20)], ORIGIN, place)
    demand_origin(index, "models:/demo-embedder/3", place)
    with pytest.raises(IndexFileError, match=r"of models:/demo-embedder/3, but the champion is .*/4"):
        demand_origin(index, "models:/demo-embedder/4", place)
    (place / "index.faiss").write_bytes((tmp_path / "other" / "index.faiss").read_bytes())
    with pytest.raises(IndexFileError, match=r"index\.faiss is damaged or another index's"):
        load_index(place)
    (place / "listing_ids.txt").unlink()
    with pytest.raises(IndexFileError, match=r"is missing|is damaged"):
        load_index(place)
    (place / "index.json").write_text(json.dumps({"model_version": "demo-embedder/3"}))
    with pytest.raises(IndexFileError, match="of an older form"):
        load_index(place)
    (place / "index.json").unlink()
    with pytest.raises(IndexFileError, match=r"index\.json is missing"):
        load_index(place)


def test_unsound_vectors_are_counted(tmp_path) -> None:
    vectors = unit(80, 8)
    ids = [f"l{i}" for i in range(len(vectors))]
    long = vectors.copy()
    long[:3] *= 1.1
    index = build_index(long, ids, ORIGIN, tmp_path / "index")
    assert check_vectors(index, ids) == {
        "sound": False, "vectors": len(ids), "listings": len(ids), "not_finite": 0, "not_unit_length": 3,
        "missing_listings": 0, "unknown_listings": 0,
    }  # fmt: skip
    index = build_index(vectors, ids, ORIGIN, tmp_path / "index")
    observed = check_vectors(index, [*ids[1:], "new", "newer"])
    assert (observed["missing_listings"], observed["unknown_listings"], observed["sound"]) == (2, 1, False)
    assert not check_vectors(index, [*ids, ids[0]])["sound"]
    index.vectors = np.full_like(vectors, np.nan)
    assert check_vectors(index, ids)["not_finite"] == len(ids)


@pytest.mark.parametrize("opq", [False, True])
def test_ivf_pq_finds_nearly_what_exact_search_finds(tmp_path, opq: bool) -> None:
    vectors, queries = unit(10_500, 16), unit(100, 16, 2)
    ids = [f"l{i}" for i in range(len(vectors))]
    query_ids = [f"q{i}" for i in range(len(queries))]
    config = ProductIndexConfig(kind="ivf_pq", opq=opq, nlist=16)
    build_index(vectors, ids, ORIGIN, tmp_path / "index", config)
    index = load_index(tmp_path / "index")
    assert index.recipe.factory == ("OPQ4," if opq else "") + "IVF16,PQ4" and not index.recipe.exact
    assert isinstance(index.vectors, np.memmap)
    found = index.search(queries, 10, query_ids=query_ids)
    products = queries.astype(float) @ vectors.astype(float).T
    truth = np.argsort(-products, axis=1)[:, :10]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.positions, truth, strict=True)])
    assert recall > 0.8
    # Scores are those of the exact vectors, best first, and no listing finds itself.
    np.testing.assert_allclose(found.scores, np.take_along_axis(products, found.positions, axis=1), atol=1e-6)
    assert (np.diff(found.scores, axis=1) <= 0).all()
    itself = index.search(vectors[:50], 5, query_ids=ids[:50])
    assert not (itself.positions == np.arange(50)[:, None]).any()


def test_recipes_follow_the_number_of_listings() -> None:
    def recipe(listings: int, dimensions: int = 128, **settings: object) -> Recipe:
        return choose_recipe(listings, dimensions, ProductIndexConfig.model_validate(settings))

    assert recipe(1_000_000) == Recipe("Flat")
    assert recipe(1_000_001) == Recipe("IVF4096,PQ32", 64, 10)
    assert recipe(1_000_000, kind="ivf_pq") == recipe(1_000_001)
    assert recipe(10_000_000, 1536) == Recipe("IVF16384,PQ96", 256, 10)
    assert recipe(100_000_000, 768).factory == "IVF32768,PQ96"
    assert recipe(20_000, 128, kind="ivf_pq").factory == "IVF512,PQ32"
    assert recipe(2_000_000, 130).factory == "IVF4096,PQ26"  # no GPU size of at most a quarter divides it
    assert recipe(2_000_000, opq=True, code_bytes=16, nlist=100, nprobe=200, rerank=3) == Recipe(
        "OPQ16,IVF100,PQ16", 100, 3
    )
    with pytest.raises(SearchError, match="at least 9,984 listings"):
        recipe(500, kind="ivf_pq")
    with pytest.raises(SearchError, match="code_bytes 24 does not divide 128"):
        recipe(2_000_000, code_bytes=24)
    with pytest.raises(SearchError, match="nlist 60,000 leaves fewer than 39"):
        recipe(2_000_000, nlist=60_000)
