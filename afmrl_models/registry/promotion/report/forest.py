"""The axis of a forest plot: places in percent of its width, the same for all lines of a section."""

from collections.abc import Iterable
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from afmrl_models.registry.promotion.report.measures import Line

_MARGIN = 4.0  # percent of the width left free at each end
_LEAST = 0.01  # of a metric, to each side


@dataclass(frozen=True)
class Axis:
    """Zero in the middle, `extent` to each side. ticks: differences that are written below."""

    extent: float
    ticks: tuple[float, ...]

    def place(self, difference: float) -> float:
        """Percent of the width from the left."""
        return round(50 + (50 - _MARGIN) * difference / self.extent, 2)


def axis_of(lines: Iterable[Line]) -> Axis:
    """An axis that holds every interval, difference and limit."""
    ends = [
        abs(value)
        for line in lines
        for value in (line.difference, line.low, line.high, line.limit)
        if value is not None
    ]
    extent = max([_LEAST, *ends])
    found = MaxNLocator(nbins=4, symmetric=True, steps=[1, 2, 2.5, 5, 10]).tick_values(-extent, extent)
    return Axis(extent, tuple(float(tick) for tick in found if abs(tick) <= extent))
