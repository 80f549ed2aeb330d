"""What the differences between two runs, item by item, say of the change of accuracy."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from quantguard import stats


class Look(NamedTuple):
    """A look at a run after some of ``num_planned`` items, with bounds of the one-sided ``level``.

    At the ``last`` look a significant drop counts as well, which earlier looks would find too often.
    """

    level: float
    num_planned: int
    last: bool = True
    betting: bool = False


class Evidence(NamedTuple):
    """Change of accuracy with one-sided bounds, the p-value of a drop, and how many items went which way."""

    delta: float
    low: float
    high: float
    p_drop: float
    gained: int
    lost: int


def weigh(differences: Sequence[float], clusters: Sequence[str] | None, look: Look, *, binary: bool) -> Evidence:
    """Weigh candidate minus baseline, one difference an item, by the bounds that fit: see ``verdict.accuracy``."""
    gained, lost = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    low, high, p_drop = _bounds(differences, clusters, look, stats.PairedCounts(gained, lost, len(differences)), binary)
    return Evidence(statistics.fmean(differences), low, high, p_drop, gained, lost)


def _bounds(
    differences: Sequence[float],
    clusters: Sequence[str] | None,
    look: Look,
    counts: stats.PairedCounts,
    binary: bool,  # noqa: FBT001 - a private function
) -> tuple[float, float, float]:
    p_drop = stats.drop_p_value(counts) if binary else stats.mean_bounds(differences, alpha=look.level)[2]
    if look.betting:
        return *stats.betting_bounds(np.asarray(differences), alpha=look.level), p_drop
    if binary and clusters is None:
        return *stats.flip_bounds(counts, alpha=look.level), p_drop
    if clusters is None:
        low, high, p_drop = stats.mean_bounds(differences, alpha=look.level)
    else:
        low, high, p_drop = stats.clustered_bounds(differences, clusters, alpha=look.level)
    count = len(differences if clusters is None else set(clusters))
    return *stats.widen((low, high), count, alpha=look.level), p_drop
