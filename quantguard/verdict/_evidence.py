"""The evidence for a change of accuracy: an estimate with bounds, from the paired differences between two runs."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from quantguard import stats


class Analysis(NamedTuple):
    """One analysis of a run: an interim one after some of the planned items, or the final one.

    Attributes:
        level: The one-sided level of its bounds.
        num_planned: The number of items of the whole run.
        final: Whether it is the last one. Only there does a significant drop count as well: interim analyses would
            find one too often.
        betting: Whether its bounds are those of a bettor, which hold at whatever item the run stops.
    """

    level: float
    num_planned: int
    final: bool = True
    betting: bool = False


class Evidence(NamedTuple):
    """The change of accuracy that two runs show.

    Attributes:
        delta: The mean of candidate minus baseline over the items.
        low: Its one-sided lower bound.
        high: Its one-sided upper bound.
        p_drop: The one-sided p-value of any drop.
        gained: The number of items whose score got better.
        lost: The number of items whose score got worse.
    """

    delta: float
    low: float
    high: float
    p_drop: float
    gained: int
    lost: int


def estimate_change(
    differences: Sequence[float], clusters: Sequence[str] | None, analysis: Analysis, *, binary: bool
) -> Evidence:
    """Estimate the mean of ``differences`` (candidate minus baseline, one per item) with the bounds that fit the data.

    ``verdict.accuracy`` says which bounds those are.
    """
    gained, lost = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    low, high, p_drop = _bounds(
        differences, clusters, analysis, stats.PairedCounts(gained, lost, len(differences)), binary
    )
    return Evidence(statistics.fmean(differences), low, high, p_drop, gained, lost)


def _bounds(
    differences: Sequence[float],
    clusters: Sequence[str] | None,
    analysis: Analysis,
    counts: stats.PairedCounts,
    binary: bool,  # noqa: FBT001 - a private function
) -> tuple[float, float, float]:
    # Betting bounds have no p-value of their own: they go with that of the exact test, or of the t distribution.
    p_drop = stats.drop_p_value(counts) if binary else stats.mean_bounds(differences, alpha=analysis.level)[2]
    if analysis.betting:
        return *stats.betting_bounds(np.asarray(differences), alpha=analysis.level), p_drop
    if binary and clusters is None:
        return *stats.flip_bounds(counts, alpha=analysis.level), p_drop
    if clusters is None:
        low, high, p_drop = stats.mean_bounds(differences, alpha=analysis.level)
    else:
        low, high, p_drop = stats.clustered_bounds(differences, clusters, alpha=analysis.level)
    count = len(differences if clusters is None else set(clusters))
    return *stats.widen((low, high), count, alpha=analysis.level), p_drop
