"""The bootstrap against theory, scipy, and its own promises."""

import numpy as np
import pytest
import scipy.stats

from afmrl_models.retrieval.significance import bootstrap_interval, paired_bootstrap


def test_independent_products_agree_with_scipy() -> None:
    values = np.random.default_rng(0).random(300)
    ours = bootstrap_interval(values, [str(i) for i in range(300)], n=4000, seed=1)
    theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=2)
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.004)


def test_listings_of_one_product_widen_the_interval() -> None:
    values = np.repeat(np.random.default_rng(0).integers(0, 2, 60), 10).astype(float)
    alone = bootstrap_interval(values, [str(i) for i in range(600)], seed=0)
    clustered = bootstrap_interval(values, [str(i // 10) for i in range(600)], seed=0)
    ratio = (clustered.high - clustered.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(np.sqrt(10), rel=0.15), "ten equal copies are one observation"


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(200):
        products = rng.integers(0, 80, 200)
        rate = rng.random(80)  # each product has its own hit rate; the mean of all is 0.5
        low, high = bootstrap_interval(
            (rng.random(200) < rate[products]).astype(float), products.astype(str), 300, trial
        )
        covered += low <= 0.5 <= high
    assert covered / 200 == pytest.approx(0.95, abs=0.05)


def test_a_pair_sees_what_single_intervals_do_not() -> None:
    rng = np.random.default_rng(4)
    products = [str(i) for i in range(400)]
    b = rng.integers(0, 2, 400).astype(float)
    a = b.copy()
    a[np.flatnonzero(b == 0)[:12]] = 1.0
    paired = paired_bootstrap(a, b, products, seed=0)
    assert paired.difference == pytest.approx(12 / 400)
    assert paired.significant and paired.low > 0
    single = bootstrap_interval(b, products, seed=0)
    assert single.high > a.mean(), "unpaired, the difference drowns"
    assert not paired_bootstrap(b, b, products).significant
    swapped = paired_bootstrap(b, a, products, seed=0)
    assert (swapped.low, swapped.high) == pytest.approx((-paired.high, -paired.low))


def test_same_seed_same_interval_and_bad_input() -> None:
    values = np.random.default_rng(5).random(50)
    products = [str(i % 20) for i in range(50)]
    assert bootstrap_interval(values, products, 200, 7) == bootstrap_interval(values, products, 200, 7)
    assert bootstrap_interval(values, products, 200, 7) != bootstrap_interval(values, products, 200, 8)
    with pytest.raises(ValueError, match="no queries"):
        bootstrap_interval([], [])
    with pytest.raises(ValueError, match="NaN"):
        bootstrap_interval([1.0, float("nan")], ["a", "b"])
    with pytest.raises(ValueError, match="2 queries, but 1 product"):
        bootstrap_interval([1.0, 0.0], ["a"])
    with pytest.raises(ValueError, match="same queries"):
        paired_bootstrap([1.0], [1.0, 0.0], ["a"])
