"""Bootstrap intervals over products (the listings of one are no independent queries) and over seeds."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd


class Interval(NamedTuple):
    """A percentile interval of a mean."""

    low: float
    high: float


class PairedDifference(NamedTuple):
    """The mean of a - b over the same queries, and its interval."""

    difference: float
    low: float
    high: float

    @property
    def significant(self) -> bool:
        """Zero lies outside the interval."""
        return self.low > 0 or self.high < 0


def bootstrap_interval(
    values: Sequence[float] | np.ndarray,
    products: Sequence[str],
    n: int = 1000,
    seed: int = 0,
    *,
    level: float = 0.95,
) -> Interval:
    """The interval of the mean of per-query values (Q,) when products are drawn anew `n` times.

    A draw takes as many products as there are, with replacement, each with all its queries (cluster
    bootstrap, Field & Welsh 2007; percentile method). Raises ValueError for no values or a NaN.
    """
    frame = pd.DataFrame({"value": np.asarray(values, dtype=np.float64)})
    return bootstrap_intervals(frame, products, n, seed, level=level)["value"]


def bootstrap_intervals(
    values: pd.DataFrame, products: Sequence[str], n: int = 1000, seed: int = 0, *, level: float = 0.95
) -> dict[str, Interval]:
    """`bootstrap_interval` of every column (one row a query), all from the same draws."""
    means = _resampled_means(values, products, n, seed)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return {name: Interval(float(low[i]), float(high[i])) for i, name in enumerate(map(str, values.columns))}


def paired_bootstrap(
    a: Sequence[float] | np.ndarray,
    b: Sequence[float] | np.ndarray,
    products: Sequence[str],
    n: int = 1000,
    seed: int = 0,
    *,
    level: float = 0.95,
) -> PairedDifference:
    """The mean of a - b and its interval; a[i] and b[i] are two systems' values of the same query i."""
    if len(a) != len(b):
        raise ValueError(f"a has {len(a)} queries, b has {len(b)}: a pair needs the same queries in both")
    differences = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    interval = bootstrap_interval(differences, products, n, seed, level=level)
    return PairedDifference(float(differences.mean()), *interval)


def two_way_bootstrap(
    systems: Mapping[str, np.ndarray],
    products: Sequence[str],
    n: int = 1000,
    seed: int = 0,
    *,
    paired_seeds: bool,
) -> dict[str, np.ndarray]:
    """Means (n, M) of every system over queries and training seeds, both drawn anew `n` times.

    systems: name -> values (S, Q, M) of S seeds, the same Q queries in all systems, M metrics. A draw takes
    products as `bootstrap_interval` does, the same ones for all systems and seeds, and independently of them
    S - 1 of the S seeds with replacement (two-way bootstrap, Owen 2007; one draw fewer than there are seeds
    makes the variance unbiased, McCarthy & Snowden 1985), the same ones for all systems where
    `paired_seeds`. One seed is taken as it is: then only products are drawn. Differences of two systems' rows
    are paired. Where seeds differ by far more than products make up for, so few of them give intervals that
    are too narrow (docs/results.md).

    Raises ValueError for no values or a NaN, and for paired systems with different numbers of seeds.
    """
    counts = {name: len(values) for name, values in systems.items()}
    if paired_seeds and len(set(counts.values())) > 1:
        raise ValueError(f"paired seeds need the same number of them in every system, got {counts}")
    columns = [values.transpose(1, 0, 2).reshape(values.shape[1], -1) for values in systems.values()]
    means = _resampled_means(pd.DataFrame(np.concatenate(columns, axis=1)), products, n, seed)
    generator = np.random.default_rng([seed, 1])
    shared: np.ndarray | None = None
    drawn: dict[str, np.ndarray] = {}
    start = 0
    for name, values in systems.items():
        seeds, _, metrics = values.shape
        by_seed = means[:, start : start + seeds * metrics].reshape(n, seeds, metrics)
        start += seeds * metrics
        weights = shared if shared is not None else _seed_weights(generator, n, seeds)
        shared = weights if paired_seeds else None
        drawn[name] = (weights[:, None, :] @ by_seed)[:, 0, :]
    return drawn


def _seed_weights(generator: np.random.Generator, n: int, seeds: int) -> np.ndarray:
    """The share of each seed in each draw, (n, seeds)."""
    draws = max(1, seeds - 1)
    weights: np.ndarray = generator.multinomial(draws, np.full(seeds, 1 / seeds), size=n) / draws
    return weights


def _resampled_means(values: pd.DataFrame, products: Sequence[str], n: int, seed: int) -> np.ndarray:
    """Means (n, columns) of the resampled queries."""
    if values.empty:
        raise ValueError("no queries: there is no mean to put an interval around")
    if len(products) != len(values):
        raise ValueError(f"{len(values)} queries, but {len(products)} product ids")
    if values.isna().to_numpy().any():
        raise ValueError("a per-query value is NaN")
    codes, names = pd.factorize(np.asarray(products, dtype=object), use_na_sentinel=False)
    sums = np.zeros((len(names), values.shape[1] + 1))
    np.add.at(sums, codes, np.column_stack([values.to_numpy(dtype=np.float64), np.ones(len(values))]))
    generator = np.random.default_rng(seed)
    drawn = np.empty((n, sums.shape[1]))
    for i in range(n):  # one draw at a time: n x products at once would be large for a large catalog
        times = np.bincount(generator.integers(len(names), size=len(names)), minlength=len(names))
        drawn[i] = times @ sums
    means: np.ndarray = drawn[:, :-1] / drawn[:, -1:]
    return means
