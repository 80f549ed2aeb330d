"""An axis of a picture: from values to positions in percent of its width, so that it is drawn at any width."""

import math
from collections.abc import Iterable
from typing import NamedTuple


class Axis(NamedTuple):
    """A range of values over the width of a picture."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Return the position of a value in percent of the width, two decimals."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    @property
    def ticks(self) -> tuple[float, ...]:
        """Two to six round values within the range."""
        span = self.high - self.low
        raw = span / 5
        size = 10.0 ** math.floor(math.log10(raw))
        step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= raw)
        first = math.ceil(self.low / step)
        return tuple(index * step for index in range(first, math.floor(self.high / step) + 1))


def axis_over(values: Iterable[float]) -> Axis:
    """Return an axis that holds all values with some air on both sides."""
    found = list(values)
    low, high = min(found), max(found)
    air = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    return Axis(low - air, high + air)
