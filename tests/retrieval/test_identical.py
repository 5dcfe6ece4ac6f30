"""Links, threshold, confidence, groups and the team's answers, against slow loops."""

import networkx
import numpy as np
import pandas as pd
import pytest

from afmrl_models.config.release import IdenticalProductsConfig, ProductIndexConfig
from afmrl_models.errors import UserError
from afmrl_models.retrieval.ambiguous import ambiguous_pairs
from afmrl_models.retrieval.calibration import Calibration, calibrate, labelled_links, measure_groups
from afmrl_models.retrieval.confidence import ConfidenceCurve, reliability
from afmrl_models.retrieval.identical import Grouping, group_identical, keep_group_ids
from afmrl_models.retrieval.index import Origin, build_index, load_index
from afmrl_models.retrieval.links import Links, mutual_links
from afmrl_models.retrieval.reviewed import Reviewed, ReviewError, harvest, read_reviewed, record_reviews
from afmrl_models.retrieval.search import Gallery


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


def all_of(rows: object) -> np.ndarray:
    return np.ones(len(rows), dtype=bool)  # type: ignore[arg-type]


def links_of(vectors: np.ndarray, k: int = 10) -> tuple[Gallery, Links]:
    gallery = Gallery(vectors, [f"l{i:03d}" for i in range(len(vectors))])
    return gallery, mutual_links(gallery, k)


def test_links_and_groups_through_an_approximate_index_are_nearly_those_of_exact_search(tmp_path) -> None:
    vectors, _ = offers(0, products=4200, spread=0.2)
    ids = [f"l{i:05d}" for i in range(len(vectors))]
    found = []
    for kind in ("flat", "ivf_pq"):
        build_index(vectors, ids, Origin("m", "d"), tmp_path / kind, ProductIndexConfig(kind=kind, nlist=32))
        index = load_index(tmp_path / kind)
        links = mutual_links(index, 10)
        strong = links.where(links.scores >= 0.9)
        pairs = dict(
            zip(zip(strong.left.tolist(), strong.right.tolist(), strict=True), strong.scores, strict=True)
        )
        groups = group_identical(index, links, 0.9).groups.groupby("group_id")["listing_id"]
        found.append((pairs, {frozenset(members) for _, members in groups}))
    (exact, exact_groups), (approximate, approximate_groups) = found
    assert len(exact) > 3000 and len(exact_groups) > 1000
    both = exact.keys() & approximate.keys()
    assert len(both) >= 0.98 * max(len(exact), len(approximate))
    assert max(abs(exact[pair] - approximate[pair]) for pair in both) < 1e-9  # the scores are exact
    assert len(exact_groups & approximate_groups) >= 0.95 * len(exact_groups)


@pytest.mark.parametrize("min_precision", [0.5, 0.8, 0.95])
def test_threshold_is_the_lowest_that_is_precise_enough(min_precision) -> None:
    vectors, products = offers(0)
    calibration = calibrate(links_of(vectors, 5)[1], products, all_of(products), min_precision)
    pairs = sorted(mutual_pairs(vectors, 5), reverse=True)
    same = [products[i] == products[j] for _, i, j in pairs]
    allowed = [n for n in range(1, len(pairs) + 1) if np.mean(same[:n]) >= min_precision]
    assert calibration.threshold == pytest.approx(pairs[max(allowed) - 1][0])
    every = sum(products[i] == products[j] for i in range(len(products)) for j in range(i))
    for threshold, precision, recall, links in calibration.reachable:
        kept = [right for (score, _, _), right in zip(pairs, same, strict=True) if score >= threshold - 1e-9]
        assert (precision, recall) == (pytest.approx(np.mean(kept)), pytest.approx(sum(kept) / every))
        assert links == 2 * len(kept)  # seen from both listings


def test_a_wrong_link_into_another_split_weighs_as_much_as_a_right_one() -> None:
    links = Links(np.array([0, 0, 2]), np.array([1, 2, 3]), np.array([0.9, 0.8, 0.7]))
    found = labelled_links(links, ["a", "a", "b", None], np.array([True, True, False, False]))
    assert found["right"].tolist() == [True, True, False]


def test_no_precise_threshold_groups_nothing_but_ranks_pairs() -> None:
    vectors = np.random.default_rng(5).standard_normal((40, 4)).astype(np.float32)
    vectors[0] = vectors[1]  # the most similar pair is two products
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    products = [f"p{i // 2 if i > 1 else i + 100}" for i in range(40)]
    gallery, links = links_of(vectors)
    calibration = calibrate(links, products, all_of(products), 0.99)
    assert calibration.threshold is None and 0 < (calibration.best_precision or 0) < 0.99
    grouping = group_identical(gallery, links, float("inf"))
    assert grouping.groups.empty
    nobody = Reviewed(frozenset(), frozenset())
    config = IdenticalProductsConfig(most_ambiguous_pairs=5)
    pairs, left_out = ambiguous_pairs(
        gallery, links, grouping, calibration.curve, nobody, config, calibrated=False
    )
    assert len(pairs) == 5 and left_out > 0 and pairs["confidence"].is_monotonic_decreasing
    assert pairs["decision"].isna().all()


def test_unknown_products_cannot_calibrate() -> None:
    vectors, products = offers(6)
    links = links_of(vectors)[1]
    for unknown in ([None] * len(products), [str(i) for i in range(len(products))]):
        with pytest.raises(ValueError, match="nothing to set a threshold on"):
            calibrate(links, unknown, all_of(products), 0.9)


def test_confidences_are_probabilities_on_other_products(tmp_path) -> None:
    vectors, products = offers(3, 400, spread=0.5)
    calibration = calibrate(links_of(vectors)[1], products, all_of(products), 0.7, "digest")
    calibration.save(tmp_path)
    assert Calibration.load(tmp_path) == calibration
    others, their_products = offers(4, 400, spread=0.5)
    held = reliability(
        calibration.curve, labelled_links(links_of(others)[1], their_products, all_of(their_products))
    )
    assert held is not None and held.expected_calibration_error < 0.08
    assert held.brier < held.brier_of_the_share
    assert (np.diff(calibration.curve(np.linspace(-1, 1, 99))) >= 0).all()
    (tmp_path / "calibration.json").write_text("{")
    with pytest.raises(UserError, match=r"calibration\.json: cannot be read"):
        Calibration.load(tmp_path)


def test_groups_without_chains_are_the_components_of_mutual_links() -> None:
    vectors, _ = offers(1)
    gallery, links = links_of(vectors, 4)
    ids = gallery.ids
    groups = group_identical(gallery, links, 0.9, floor=-1.0).groups
    graph = networkx.Graph((ids[i], ids[j], {"s": s}) for s, i, j in mutual_pairs(vectors, 4) if s >= 0.9)
    expected = {min(component): component for component in networkx.connected_components(graph)}
    assert {name: set(rows) for name, rows in groups.groupby("group_id")["listing_id"]} == expected
    assert 5 < len(expected) < 40
    for row in groups.itertuples():
        assert row.score == pytest.approx(max(d["s"] for _, _, d in graph.edges(row.listing_id, data=True)))


def on_circle(*degrees: float) -> tuple[Gallery, Links]:
    angles = np.radians(degrees)
    return links_of(np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32))


def members(grouping: Grouping) -> list[list[str]]:
    return [sorted(rows) for _, rows in grouping.groups.groupby("group_id")["listing_id"]]


def test_a_chain_is_cut_at_its_weak_link_and_the_team_has_the_last_word() -> None:
    gallery, links = on_circle(0, 4, 20, 36, 40)
    threshold = float(np.cos(np.radians(17)))
    cut = group_identical(gallery, links, threshold)
    assert members(cut) == [["l000", "l001"], ["l003", "l004"]] or len(members(cut)) == 2
    assert len(cut.cut) > 0 and (cut.cut.scores >= threshold).all()
    same = Reviewed(frozenset({("l000", "l004")}), frozenset())
    assert any({"l000", "l004"} <= set(group) for group in members(
        group_identical(gallery, links, threshold, reviewed=same)
    ))  # fmt: skip
    different = Reviewed(frozenset(), frozenset({("l000", "l001")}))
    parted = group_identical(gallery, links, threshold, reviewed=different)
    assert not any({"l000", "l001"} <= set(group) for group in members(parted))
    torn = Reviewed(frozenset({("l000", "l001"), ("l001", "l002")}), frozenset({("l000", "l002")}))
    found = group_identical(gallery, links, threshold, reviewed=torn)
    assert set(found.contradicted) == set(torn.same)
    assert not any({"l000", "l002"} <= set(group) for group in members(found))


def test_many_equal_offers_stay_together() -> None:
    vectors = np.repeat(np.eye(3, dtype=np.float32), 30, axis=0)
    groups = group_identical(*links_of(vectors, 5), 0.9).groups
    assert groups.groupby("group_id").size().to_dict() == {"l000": 30, "l030": 30, "l060": 30}


def test_precision_and_recall_of_groups() -> None:
    groups = pd.DataFrame({"group_id": ["a", "a", "a", "e", "e"], "listing_id": list("abcef")})
    products = ["p", "p", "q", "p", "r", None]
    quality = measure_groups(groups, list("abcdef"), products, np.array([True] * 6), 100)
    assert quality.precision.value == pytest.approx(2 / 6) and quality.precision.count == 6
    assert quality.recall.value == pytest.approx(2 / 6) and quality.unknown == 1


def test_groups_keep_their_ids_from_night_to_night() -> None:
    def groups(**named: str) -> pd.DataFrame:
        return pd.DataFrame([(name, letter) for name, letters in named.items() for letter in letters],
                            columns=["group_id", "listing_id"])  # fmt: skip

    before = groups(a="abcd", x="xy")
    after = keep_group_ids(groups(b="bcd", a="ae", p="pxy"), before)
    named = {name: "".join(rows) for name, rows in after.groupby("group_id")["listing_id"]}
    assert named == {"a": "bcd", "e": "ae", "x": "pxy"}


def test_answers_are_kept_and_the_last_one_counts(tmp_path) -> None:
    path = tmp_path / "reviewed_pairs.csv"
    assert len(read_reviewed(path)) == 0
    record_reviews(path, [("b", "a", "same"), ("c", "d", "different")])
    record_reviews(path, [("a", "b", "different"), ("c", "d", "")])
    assert read_reviewed(path) == Reviewed(frozenset(), frozenset({("a", "b")}))
    assert len(pd.read_csv(path)) == 4
    filled = pd.DataFrame(
        {"left_id": ["e", "g", "a"], "right_id": ["f", "h", "b"], "decision": [" Same", None, "different"]}
    )
    assert harvest(filled, path) == 1 and ("e", "f") in read_reviewed(path).same
    with pytest.raises(ReviewError, match="row 1: 'maybe' is neither same nor different"):
        record_reviews(path, [("a", "b", "maybe")])
    with pytest.raises(ReviewError, match="needs the ids of two listings"):
        record_reviews(path, [("a", "a", "same")])
    path.write_text("left_id,right_id,decision\na,b,perhaps\n")
    with pytest.raises(ReviewError, match=r"reviewed_pairs\.csv: row 1: 'perhaps'"):
        read_reviewed(path)


def test_a_decided_pair_is_not_asked_again() -> None:
    gallery, links = on_circle(0, 4, 90)
    curve = ConfidenceCurve("isotonic", (0.0, 1.0), (0.1, 0.9))
    grouping = group_identical(gallery, links, float("inf"))
    pairs = [
        ambiguous_pairs(
            gallery, links, grouping, curve, reviewed, IdenticalProductsConfig(), calibrated=False
        )[0]
        for reviewed in (
            Reviewed(frozenset(), frozenset()),
            Reviewed(frozenset({("l000", "l001")}), frozenset()),
        )
    ]
    assert [len(frame) for frame in pairs] == [3, 2]
