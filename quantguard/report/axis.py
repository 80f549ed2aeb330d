"""An axis of a chart: maps values to positions in percent of the chart's width, so that it scales to any width."""

import math
from collections.abc import Iterable
from typing import NamedTuple


class Axis(NamedTuple):
    """A range of values over the width of a chart."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Return the position of a value in percent of the width, rounded to two decimals."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    @property
    def ticks(self) -> tuple[float, ...]:
        """Two to six round values within the range."""
        span = self.high - self.low
        raw = span / 5
        # Readers expect steps of 1, 2 or 5 times a power of ten; the smallest of them that gives at most five steps.
        size = 10.0 ** math.floor(math.log10(raw))
        step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= raw)
        first = math.ceil(self.low / step)
        return tuple(index * step for index in range(first, math.floor(self.high / step) + 1))


def axis_over(values: Iterable[float]) -> Axis:
    """Return an axis that covers all values, with a margin on both sides."""
    found = list(values)
    low, high = min(found), max(found)
    # Equal values have no spread to take a share of, and a range of zero would divide by zero in ``at``.
    margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    return Axis(low - margin, high + margin)
