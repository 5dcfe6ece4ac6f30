"""Our own metrics, against slow loops and scipy."""

import numpy as np
import pytest
from scipy.stats import entropy

from afmrl_models.attributes.judgement.custom import is_measure, jensen_shannon


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("500 ml", True), ("500ml", True), ("500 ML", True), ("0,5 l", False), ("ml", False), ("", False),
        ("49 ml", False), ("50 ml", True), ("1001 ml", False), ("500", False), ("500 ml x", False),
        (None, False),
    ],
)  # fmt: skip
def test_a_measure_is_a_number_in_the_range_and_a_unit(value: object, fits: bool) -> None:
    assert is_measure(value, ["ml"], 50, 1000) is fits


def test_units_may_be_several_or_none_and_limits_open() -> None:
    assert is_measure("0,5 l", ["ml", "l"], None, None)
    assert is_measure("-3.5", [""], None, None)
    assert not is_measure("-3.5", [""], 0, None)


def test_the_distance_is_the_root_of_the_mean_divergence_from_the_middle() -> None:
    random = np.random.default_rng(0)
    p, q = random.random(5), random.random(5)
    names = list("abcde")
    one, two = p / p.sum(), q / q.sum()
    middle = (one + two) / 2
    expected = np.sqrt((entropy(one, middle, base=2) + entropy(two, middle, base=2)) / 2)
    found = jensen_shannon(dict(zip(names, p, strict=True)), dict(zip(names, q, strict=True)))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("one", "two", "distance"),
    [
        ({"a": 3}, {"a": 9}, 0.0),
        ({"a": 3}, {"b": 1}, 1.0),
        ({}, {"b": 1}, 1.0),
        ({"b": 1}, {}, 1.0),
        ({}, {}, 0.0),
    ],
)
def test_extremes_of_the_distance(one: dict, two: dict, distance: float) -> None:
    assert jensen_shannon(one, two) == pytest.approx(distance)
