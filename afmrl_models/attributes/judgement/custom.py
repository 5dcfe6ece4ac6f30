"""Expectations that Great Expectations lacks, registered with it when this module is imported."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnAggregateExpectation, ColumnMapExpectation
from great_expectations.expectations.metrics.column_aggregate_metric_provider import (
    ColumnAggregateMetricProvider,
    column_aggregate_value,
)
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    column_condition_partial,
)

from afmrl_models.attributes.grammar import AttributeTextError, parse

_MEASURE = re.compile(r"(?P<number>[-+]?\d+(?:[.,]\d+)?)\s*(?P<unit>.*)")


def is_attribute_text(text: object) -> bool:
    """Whether the grammar accepts it."""
    try:
        parse(str(text))
    except AttributeTextError:
        return False
    return True


def is_measure(value: object, units: Sequence[str], lowest: float | None, highest: float | None) -> bool:
    """Whether a value such as `500 ml` or `0,5l` has one of the units (but for case) and is in the range."""
    found = _MEASURE.fullmatch(str(value).strip())
    if found is None or found["unit"].casefold() not in {unit.casefold() for unit in units}:
        return False
    number = float(found["number"].replace(",", "."))
    return (lowest is None or number >= lowest) and (highest is None or number <= highest)


def jensen_shannon(observed: Mapping[str, float], expected: Mapping[str, float]) -> float:
    """Jensen-Shannon distance (scipy's, base 2) of two counts: 0 the same shares, 1 nothing in common.

    Counts of nothing have nothing in common with any others, and are the same as each other.
    """
    from scipy.spatial.distance import jensenshannon

    if not sum(observed.values()) or not sum(expected.values()):
        return float(bool(sum(observed.values()) or sum(expected.values())))
    names = sorted({*observed, *expected})
    shares = [
        np.array([counts.get(name, 0) for name in names], dtype=float) for counts in (observed, expected)
    ]
    return float(jensenshannon(*shares, base=2))


class _AttributeText(ColumnMapMetricProvider):
    condition_metric_name = "column_values.attribute_text"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, **_: Any) -> pd.Series:
        return column.map(is_attribute_text).astype(bool)


class ExpectColumnValuesToBeAttributeTexts(ColumnMapExpectation):
    """Expect the column's values to obey the grammar of attribute texts."""

    map_metric: ClassVar[str] = "column_values.attribute_text"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly",)


class _Measure(ColumnMapMetricProvider):
    condition_metric_name = "column_values.measure"
    condition_value_keys = ("units", "min_value", "max_value")

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(
        cls,
        column: pd.Series,
        units: Sequence[str],
        min_value: float | None = None,
        max_value: float | None = None,
        **_: Any,
    ) -> pd.Series:
        return column.map(lambda value: is_measure(value, units, min_value, max_value)).astype(bool)


class ExpectColumnValuesToBeMeasures(ColumnMapExpectation):
    """Expect the column's values to be numbers in a range, each followed by one of the units."""

    units: list[str]
    min_value: float | None = None
    max_value: float | None = None

    map_metric: ClassVar[str] = "column_values.measure"
    args_keys: ClassVar[tuple[str, ...]] = ("column", "units", "min_value", "max_value")
    success_keys: ClassVar[tuple[str, ...]] = ("units", "min_value", "max_value", "mostly")


class _MostCommonShare(ColumnAggregateMetricProvider):
    metric_name = "column.most_common_share"

    @column_aggregate_value(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, **_: Any) -> float | None:
        counts = column.value_counts()
        return float(counts.iloc[0] / counts.sum()) if len(counts) else None


class ExpectColumnMostCommonShareToBeAtMost(ColumnAggregateExpectation):
    """Expect the commonest value to have at most this share of all values."""

    min_value: float | None = None
    max_value: float | None = None

    metric_dependencies = ("column.most_common_share",)
    success_keys: ClassVar[tuple[str, ...]] = ("min_value", "max_value")

    def _validate(
        self, metrics: dict, runtime_configuration: Any = None, execution_engine: Any = None
    ) -> Any:
        return self._validate_metric_value_between(
            "column.most_common_share", metrics, runtime_configuration, execution_engine
        )


class _JensenShannon(ColumnAggregateMetricProvider):
    metric_name = "column.jensen_shannon"
    value_keys = ("counts",)

    @column_aggregate_value(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, counts: Mapping[str, float], **_: Any) -> float:
        return jensen_shannon({str(v): float(n) for v, n in column.value_counts().items()}, counts)


class ExpectColumnJensenShannonDistanceToBeAtMost(ColumnAggregateExpectation):
    """Expect the shares of the column's values to be near those that `counts` gives."""

    counts: dict[str, float]
    min_value: float | None = None
    max_value: float | None = None

    metric_dependencies = ("column.jensen_shannon",)
    success_keys: ClassVar[tuple[str, ...]] = ("counts", "min_value", "max_value")

    def _validate(
        self, metrics: dict, runtime_configuration: Any = None, execution_engine: Any = None
    ) -> Any:
        return self._validate_metric_value_between(
            "column.jensen_shannon", metrics, runtime_configuration, execution_engine
        )
