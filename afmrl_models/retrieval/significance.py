"""Bootstrap intervals over products: the listings of one product are no independent queries."""

from collections.abc import Sequence
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
