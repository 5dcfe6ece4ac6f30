"""Downstream measures on clusters whose answers are known."""

import numpy as np
import pytest

from afmrl_models.retrieval.downstream import (
    TooFewLabels,
    cluster_metrics,
    downstream_metrics,
    probe_accuracy,
    purity,
)


def blobs(seed: int, per_label: int = 30, labels: int = 4, spread: float = 0.05):
    rng = np.random.default_rng(seed)
    centres = np.eye(labels, 8)
    names = np.repeat([f"c{i}" for i in range(labels)], per_label)
    vectors = np.repeat(centres, per_label, axis=0) + spread * rng.standard_normal((labels * per_label, 8))
    return vectors.astype(np.float32), names


def test_separate_categories_are_told_apart() -> None:
    (q, ql), (g, gl) = blobs(0), blobs(1)
    products = np.array([f"p{i}" for i in range(len(q))])
    metrics = downstream_metrics(q, ql, products, g, gl, products, seed=0)
    assert metrics == pytest.approx({"accuracy": 1.0, "nmi": 1.0, "ari": 1.0, "purity": 1.0})


def test_noise_scores_as_chance() -> None:
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((800, 8))
    labels = rng.choice(["a", "b"], 800)
    products = np.arange(800).astype(str)
    metrics = downstream_metrics(
        vectors[:400], labels[:400], products[:400], vectors[400:], labels[400:], products[400:], seed=0
    )
    assert metrics["accuracy"] == pytest.approx(0.5, abs=0.08)
    assert metrics["ari"] == pytest.approx(0.0, abs=0.05)
    assert metrics["nmi"] == pytest.approx(0.0, abs=0.05)


def test_the_probe_never_sees_the_querys_product() -> None:
    """Every product has a direction of its own and a random label: only a leak could beat chance."""
    rng = np.random.default_rng(3)
    directions, names = rng.standard_normal((60, 64)), rng.choice(["a", "b"], 60)
    products = np.arange(60).astype(str)
    accuracy = probe_accuracy(directions, names, products, directions, names, products, seed=0)
    assert accuracy < 0.75
    other = np.array([f"other {i}" for i in range(60)])
    assert probe_accuracy(directions, names, products, directions, names, other, seed=0) > 0.95


def test_purity_by_hand() -> None:
    """Manning et al., Introduction to Information Retrieval, figure 16.4: (5 + 4 + 3) / 17."""
    labels = list("xxxxxo") + list("xooood") + list("xxddd")
    clusters = [0] * 6 + [1] * 6 + [2] * 5
    assert purity(np.array(labels), np.array(clusters)) == pytest.approx(12 / 17)


def test_too_few_categories() -> None:
    vectors, labels = blobs(4, labels=1)
    products = np.arange(len(labels)).astype(str)
    with pytest.raises(TooFewLabels, match="1 categories"):
        cluster_metrics(vectors, labels, seed=0)
    with pytest.raises(TooFewLabels):
        probe_accuracy(vectors, labels, products, vectors, labels, products, seed=0)
