"""Groups of identical products, their threshold, and the index on disk, against slow loops."""

import math

import faiss
import networkx
import numpy as np
import pytest

from afmrl_models.retrieval.identical import calibrate_threshold, group_identical
from afmrl_models.retrieval.index import IndexFileError, ProductIndex, build_index, check_vectors, load_index
from afmrl_models.retrieval.search import SearchError


def offers(seed: int, products: int = 40, spread: float = 0.25) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    ids = [f"p{p}" for p in range(products) for _ in range(1 + p % 4)]
    centres = {f"p{p}": rng.standard_normal(8) for p in range(products)}
    vectors = np.array([centres[p] + spread * rng.standard_normal(8) for p in ids])
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), ids


def mutual_pairs(vectors: np.ndarray, k: int) -> list[tuple[float, int, int]]:
    scores = vectors.astype(float) @ vectors.astype(float).T
    np.fill_diagonal(scores, -np.inf)
    near = [set(np.argsort(-row)[:k]) for row in scores]
    count = len(vectors)
    return [
        (scores[i, j], i, j)
        for i in range(count)
        for j in range(i + 1, count)
        if j in near[i] and i in near[j]
    ]


@pytest.mark.parametrize("min_precision", [0.5, 0.8, 0.95])
def test_threshold_is_the_lowest_that_is_precise_enough(min_precision) -> None:
    vectors, products = offers(0)
    calibration = calibrate_threshold(vectors, products, min_precision, neighbours=5)
    pairs = sorted(mutual_pairs(vectors, 5), reverse=True)
    same = [products[i] == products[j] for _, i, j in pairs]
    allowed = [n for n in range(1, len(pairs) + 1) if np.mean(same[:n]) >= min_precision]
    assert calibration.pairs == max(allowed)
    assert calibration.threshold == pytest.approx(pairs[max(allowed) - 1][0])
    assert calibration.precision == pytest.approx(np.mean(same[: max(allowed)]))
    every = sum(products[i] == products[j] for i in range(len(products)) for j in range(i))
    assert calibration.recall == pytest.approx(sum(same[: max(allowed)]) / every)


def test_groups_are_the_components_of_mutual_links() -> None:
    vectors, _ = offers(1)
    ids = [f"l{i:03d}" for i in np.random.default_rng(2).permutation(len(vectors))]
    groups = group_identical(vectors, ids, 0.9, neighbours=4)
    graph = networkx.Graph((ids[i], ids[j], {"s": s}) for s, i, j in mutual_pairs(vectors, 4) if s >= 0.9)
    expected = {min(component): component for component in networkx.connected_components(graph)}
    assert {name: set(rows) for name, rows in groups.groupby("group_id")["listing_id"]} == expected
    assert 5 < len(expected) < 40
    for row in groups.itertuples():
        assert row.score == pytest.approx(max(d["s"] for _, _, d in graph.edges(row.listing_id, data=True)))
    assert groups["listing_id"].is_unique


def test_a_calibrated_threshold_keeps_its_promise_on_other_listings() -> None:
    calibration = calibrate_threshold(*offers(3, 200), 0.9)
    vectors, products = offers(4, 200)
    kept = [(i, j) for s, i, j in mutual_pairs(vectors, 10) if s >= calibration.threshold]
    assert np.mean([products[i] == products[j] for i, j in kept]) == pytest.approx(0.9, abs=0.1)


def test_many_equal_offers_stay_together() -> None:
    vectors = np.repeat(np.eye(3, dtype=np.float32), 30, axis=0)
    groups = group_identical(vectors, [f"l{i:02d}" for i in range(90)], 0.9, neighbours=5)
    assert groups.groupby("group_id").size().to_dict() == {"l00": 30, "l30": 30, "l60": 30}


def test_nothing_is_grouped_below_the_demanded_precision(caplog) -> None:
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((40, 4))
    vectors[1] = vectors[0]  # the most similar pair is two products
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    products = [f"p{i // 2 if i > 1 else i + 100}" for i in range(40)]
    calibration = calibrate_threshold(vectors, products, 0.99)
    assert calibration.threshold == math.inf and calibration.precision is None
    assert (calibration.recall, calibration.pairs) == (0.0, 0)
    assert "nothing is grouped" in caplog.text
    assert group_identical(vectors, [str(i) for i in range(40)], calibration.threshold).empty


def test_unknown_products_cannot_calibrate() -> None:
    vectors, products = offers(6)
    with pytest.raises(ValueError, match="nothing to set a threshold on"):
        calibrate_threshold(vectors, [None] * len(products), 0.9)
    with pytest.raises(ValueError, match="nothing to set a threshold on"):
        calibrate_threshold(vectors, [str(i) for i in range(len(products))], 0.9)
    known = calibrate_threshold(vectors[:50], products[:50], 0.8)
    stranger = np.concatenate([vectors[:50], vectors[:1]])
    assert calibrate_threshold(stranger, [*products[:50], None], 0.8) == known


def test_index_saved_and_loaded(tmp_path) -> None:
    vectors, _ = offers(7)
    ids = [f"Жё-{i}" for i in range(len(vectors))]
    build_index(vectors[:5], ids[:5], "old", tmp_path / "index")
    built = build_index(vectors, ids, "demo-embedder/3", tmp_path / "index")
    loaded = load_index(tmp_path / "index")
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    assert (loaded.ids, loaded.model_version) == (ids, "demo-embedder/3")
    found = loaded.search(vectors[:4], 3)
    assert found == built.search(vectors[:4], 3)
    expected = np.argsort(-(vectors[:4] @ vectors.T), axis=1)[:, :3]
    assert [[i for i, _ in row] for row in found] == [[ids[j] for j in row] for row in expected]
    assert len(loaded.search(vectors[:1], 10_000)[0]) == len(ids)
    np.testing.assert_array_equal(loaded.vectors(), vectors)
    assert check_vectors(loaded, ids)["sound"]
    with pytest.raises(SearchError, match="3 dimensions, the index has 8"):
        loaded.search(vectors[:1, :3], 1)


def test_index_refuses_what_it_could_not_read_back(tmp_path) -> None:
    vectors, _ = offers(8)
    with pytest.raises(SearchError, match="'a' occurs more than once"):
        build_index(vectors[:2], ["a", "a"], "v", tmp_path / "index")
    with pytest.raises(SearchError, match="not one line"):
        build_index(vectors[:2], ["a", "b\nc"], "v", tmp_path / "index")
    assert not list(tmp_path.iterdir())
    build_index(vectors[:2], ["a", "b"], "v", tmp_path / "index")
    faiss.write_index(faiss.IndexFlatIP(8), str(tmp_path / "index" / "index.faiss"))
    with pytest.raises(IndexFileError, match="holds 0 vectors"):
        load_index(tmp_path / "index")
    (tmp_path / "index" / "index.json").unlink()
    with pytest.raises(IndexFileError, match=r"index\.json is missing"):
        load_index(tmp_path / "index")


def test_unsound_vectors_are_counted(tmp_path) -> None:
    vectors, _ = offers(9)
    ids = [f"l{i}" for i in range(len(vectors))]
    long = vectors.copy()
    long[:3] *= 1.1
    index = build_index(long, ids, "v", tmp_path / "index")
    assert check_vectors(index, ids) == {
        "sound": False, "vectors": len(ids), "listings": len(ids), "not_finite": 0, "not_unit_length": 3,
        "missing_listings": 0, "unknown_listings": 0,
    }  # fmt: skip
    index = build_index(vectors, ids, "v", tmp_path / "index")
    observed = check_vectors(index, [*ids[1:], "new", "newer"])
    assert (observed["missing_listings"], observed["unknown_listings"], observed["sound"]) == (2, 1, False)
    assert not check_vectors(index, [*ids, ids[0]])["sound"]
    broken = faiss.IndexFlatIP(8)
    broken.add(np.full((1, 8), np.nan, dtype=np.float32))
    assert check_vectors(ProductIndex(broken, ["a"], "v"), ["a"])["not_finite"] == 1
