"""The bootstrap against theory, scipy, and its own promises."""

import numpy as np
import pytest
import scipy.stats

from afmrl_models.retrieval.significance import bootstrap_interval, paired_bootstrap, two_way_bootstrap


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


def test_two_ways_equal_a_naive_loop() -> None:
    rng = np.random.default_rng(8)
    products = ["a", "a", "b", "c", "c", "c"]
    systems = {name: rng.random((3, 6, 2)) for name in ("x", "y")}
    drawn = two_way_bootstrap(systems, products, 50, 4, paired_seeds=True)
    product_draws, seed_draws = np.random.default_rng(4), np.random.default_rng([4, 1])
    times = seed_draws.multinomial(2, [1 / 3] * 3, size=50)
    for i in range(50):
        chosen = ["abc"[j] for j in product_draws.integers(3, size=3)]
        queries = [q for product in chosen for q, own in enumerate(products) if own == product]
        seeds = [s for s in range(3) for _ in range(times[i, s])]
        assert len(seeds) == 2
        for name, values in systems.items():
            expected = np.mean([[values[s, q] for q in queries] for s in seeds], axis=(0, 1))
            np.testing.assert_allclose(drawn[name][i], expected)


def test_one_seed_draws_products_alone() -> None:
    values = np.random.default_rng(9).random((1, 60, 1))
    products = [str(i // 3) for i in range(60)]
    drawn = two_way_bootstrap({"a": values}, products, 400, 5, paired_seeds=True)["a"][:, 0]
    assert tuple(np.quantile(drawn, [0.025, 0.975])) == pytest.approx(
        bootstrap_interval(values[0, :, 0], products, 400, 5)
    )


def test_seeds_that_are_paired_cancel() -> None:
    rng = np.random.default_rng(10)
    luck, queries = rng.normal(0, 0.2, (4, 1, 1)), rng.random((1, 100, 1))
    systems = {"a": queries + luck + 0.1, "b": queries + luck}
    products = [str(i) for i in range(100)]
    paired = two_way_bootstrap(systems, products, 200, paired_seeds=True)
    np.testing.assert_allclose(paired["a"] - paired["b"], 0.1)
    unpaired = two_way_bootstrap(systems, products, 200, paired_seeds=False)
    assert (unpaired["a"] - unpaired["b"]).std() > 0.05
    with pytest.raises(ValueError, match="same number"):
        two_way_bootstrap({"a": systems["a"], "b": systems["b"][:2]}, products, 200, paired_seeds=True)
    with pytest.raises(ValueError, match="NaN"):
        two_way_bootstrap({"a": np.full((2, 3, 1), np.nan)}, ["a", "b", "c"], 200, paired_seeds=True)


@pytest.mark.parametrize("seeds", [3, 5])
def test_two_ways_cover_a_known_effect_of_seeds_and_products(seeds: int) -> None:
    """Two systems, 0/1 outcomes of 200 products; each seed shifts the gain, each product its difficulty."""
    rng = np.random.default_rng(11)
    effect, trials, products = 0.05, 200, 800
    names = [str(i) for i in range(products)]
    covered = by_products_alone = 0
    for trial in range(trials):
        ease = rng.uniform(0.2, 0.7, products)
        gain = effect + rng.normal(0, 0.03, seeds)[:, None] + rng.normal(0, 0.05, products)
        values = {
            name: (rng.random((seeds, products)) < rates).astype(float)[:, :, None]
            for name, rates in (("ours", ease + gain), ("theirs", np.broadcast_to(ease, gain.shape)))
        }
        drawn = two_way_bootstrap(values, names, 200, trial, paired_seeds=True)
        low, high = np.quantile(drawn["ours"] - drawn["theirs"], [0.025, 0.975])
        covered += bool(low <= effect <= high)
        means = {name: value.mean(axis=(0, 2)) for name, value in values.items()}
        alone = paired_bootstrap(means["ours"], means["theirs"], names, 200, trial)
        by_products_alone += bool(alone.low <= effect <= alone.high)
    assert covered / trials == pytest.approx(0.95, abs=0.04)
    assert by_products_alone / trials < 0.9, "products alone promise too much"
