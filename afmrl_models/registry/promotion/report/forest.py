"""The axis of a forest plot: places in percent of its width, the same for all lines of a section."""

from collections.abc import Iterable
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from afmrl_models.registry.promotion.report.measures import Line

_MARGIN = 4.0  # percent of the width left free at each end
_LEAST = 0.01  # of a metric, to each side
_FARTHEST = 1.5  # a limit farther out than this many times all else is left out


@dataclass(frozen=True)
class Axis:
    """Zero in the middle, `extent` to each side. ticks: differences that are written below."""

    extent: float
    ticks: tuple[float, ...]

    def place(self, difference: float) -> float:
        """Percent of the width from the left."""
        return round(50 + (50 - _MARGIN) * difference / self.extent, 2)

    def holds(self, difference: float) -> bool:
        """Whether it is on the axis."""
        return abs(difference) <= self.extent


def axis_of(lines: Iterable[Line]) -> Axis:
    """An axis that holds every difference and interval, and the limits that are not far from them."""
    drawn = list(lines)
    measured = [
        abs(value) for line in drawn for value in (line.difference, line.low, line.high) if value is not None
    ]
    reach = max([_LEAST, *measured])
    limits = [abs(line.limit) for line in drawn if line.limit is not None]
    extent = max([reach, *(limit for limit in limits if limit <= _FARTHEST * reach)])
    found = MaxNLocator(nbins=4, symmetric=True, steps=[1, 2, 2.5, 5, 10]).tick_values(-extent, extent)
    return Axis(extent, tuple(float(tick) for tick in found if abs(tick) <= extent))
