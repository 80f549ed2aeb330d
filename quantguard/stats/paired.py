"""One-sided bounds for the mean of paired differences ``candidate - reference``."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from scipy import optimize, stats


class PairedCounts(NamedTuple):
    """Flips between two runs over the same ``n`` items: wrong to right, and right to wrong."""

    gained: int
    lost: int
    n: int


def tango_bounds(counts: PairedCounts, *, alpha: float) -> tuple[float, float]:
    """Return the one-sided lower and upper bounds, each of level ``alpha``, for the difference of two rates.

    Score interval for paired proportions: Tango, Statistics in Medicine 17 (1998), 891-908.
    """
    z = float(stats.norm.ppf(1 - alpha))
    estimate = (counts.gained - counts.lost) / counts.n

    def lower(difference: float) -> float:
        return _tango_score(counts, difference) - z

    def upper(difference: float) -> float:
        return _tango_score(counts, difference) + z

    edge = 1 - 1e-9
    low = -1.0 if estimate <= -edge else float(optimize.brentq(lower, -edge, estimate))
    high = 1.0 if estimate >= edge else float(optimize.brentq(upper, estimate, edge))
    return low, high


def _tango_score(counts: PairedCounts, difference: float) -> float:
    """Return the score statistic T(difference) with the restricted maximum-likelihood estimate in closed form."""
    gained, lost, n = counts
    a = 2 * n
    b = -gained - lost + (2 * n - gained + lost) * difference
    c = -lost * difference * (1 - difference)
    q = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * q + difference * (1 - difference))
    distance = gained - lost - n * difference
    if variance <= 0:
        return 0.0 if distance == 0 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def exact_no_flip_bound(n: int, *, alpha: float) -> float:
    """Return the largest drop that ``n`` items without a single flip leave possible at level ``alpha``."""
    return float(1 - alpha ** (1 / n))


def drop_p_value(counts: PairedCounts) -> float:
    """Return the exact one-sided McNemar p-value of a drop: P(lost or more of the flips) under a fair coin."""
    flips = counts.gained + counts.lost
    if flips == 0:
        return 1.0
    return float(stats.binomtest(counts.lost, flips, 0.5, alternative="greater").pvalue)


def mean_bounds(differences: Sequence[float], *, alpha: float) -> tuple[float, float, float]:
    """Return lower bound, upper bound and the p-value of a drop from the t distribution over items."""
    n = len(differences)
    mean = math.fsum(differences) / n
    deviation = math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (n - 1))
    if deviation == 0:
        return mean, mean, 0.0 if mean < 0 else 1.0
    error = deviation / math.sqrt(n)
    reach = float(stats.t.ppf(1 - alpha, n - 1)) * error
    return mean - reach, mean + reach, float(stats.t.cdf(mean / error, n - 1))
