"""The stages of a run that may stop early: after how many items it is analysed, and at which level.

An interim analysis applies the rule of the whole run with bounds at its own level (repeated confidence intervals:
Jennison and Turnbull, JRSS B 51 (1989), 305-361). The levels of ``group-sequential`` are chosen so that all analyses
together err as rarely as a single one of the whole run; ``tests/studies/decisions.md`` has the measured error rates.
``betting`` spends half of alpha on a wealth that may be inspected at any time, and half on the final analysis.
"""

import math
from typing import Literal, NamedTuple

Method = Literal["group-sequential", "betting", "off"]
METHODS: tuple[Method, ...] = ("group-sequential", "betting", "off")
# The shares of the items after which a run is analysed, and each analysis's level as a share of alpha.
FRACTIONS = (0.2, 0.35, 0.6, 1.0)
SHARES = (0.0374, 0.4036, 0.3573, 0.6431)
# With fewer items a run stops early too rarely to pay for interim analyses.
SMALLEST_RUN = 200
# Smaller blocks would leave batches partly empty.
SMALLEST_BLOCK, SMALLEST_BET = 40, 64
MOST_BETS = 6


class Stage(NamedTuple):
    """A planned analysis of a run.

    Attributes:
        num_items: The number of items that have run by then.
        level: The one-sided level of its bounds.
        betting: Whether its bounds are those of a bettor.
    """

    num_items: int
    level: float
    betting: bool = False


def stages(method: Method, num_items: int, *, alpha: float) -> tuple[Stage, ...]:
    """Return the stages of a run of ``num_items`` in their order; the last one has all items."""
    if method == "off" or num_items < SMALLEST_RUN:
        return (Stage(num_items, alpha),)
    if method == "betting":
        block = max(SMALLEST_BET, math.ceil(num_items / MOST_BETS))
        looks = [Stage(count, alpha / 2, betting=True) for count in range(block, num_items, block)]
        return (*looks, Stage(num_items, alpha / 2))
    found: list[Stage] = []
    for fraction, share in zip(FRACTIONS, SHARES, strict=True):
        count = math.ceil(fraction * num_items - 1e-9)
        if count - (found[-1].num_items if found else 0) >= SMALLEST_BLOCK:
            found.append(Stage(count, share * alpha))
    return tuple(found)
