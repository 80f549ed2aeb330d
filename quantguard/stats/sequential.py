"""When to look at a run that may stop early, and at which level each look decides.

A look is the rule of the whole run with bounds of a level of its own (repeated confidence intervals: Jennison and
Turnbull, JRSS B 51 (1989), 305-361). The levels of ``group-sequential`` are set so that all looks together err as
rarely as one look at the whole run; ``tests/studies/decisions.md`` has what comes of them. ``betting`` spends half of
alpha on a wealth that may be looked at whenever one likes, and half on the end.
"""

import math
from typing import Literal, NamedTuple

Method = Literal["group-sequential", "betting", "off"]
METHODS: tuple[Method, ...] = ("group-sequential", "betting", "off")
# Shares of the items at which is looked, and the level of each look as a share of alpha.
FRACTIONS = (0.2, 0.35, 0.6, 1.0)
SHARES = (0.0374, 0.4036, 0.3573, 0.6431)
# With fewer items a run cannot stop early often enough to pay for looking.
SMALLEST_RUN = 200
# Blocks that are smaller would leave batches empty.
SMALLEST_BLOCK, SMALLEST_BET = 40, 64
MOST_BETS = 6


class Stage(NamedTuple):
    """A look once ``num_items`` have run, with bounds of one-sided level ``level``."""

    num_items: int
    level: float
    betting: bool = False


def stages(method: Method, num_items: int, *, alpha: float) -> tuple[Stage, ...]:
    """Return the looks at a run of ``num_items`` in their order; the last is at all of them."""
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
