"""One-sided bounds for the mean of paired differences ``candidate - reference``."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

Counts = npt.NDArray[np.int64]
# The continuity correction: a bound moves outward by this many flips.
CONTINUITY = 0.25


class PairedCounts(NamedTuple):
    """Flips between two runs over the same ``n`` items: wrong to right, and right to wrong."""

    gained: int
    lost: int
    n: int


def tango_bounds(counts: PairedCounts, *, alpha: float, correction: float = 0.0) -> tuple[float, float]:
    """Return the one-sided lower and upper bounds, each of level ``alpha``, for the difference of two rates.

    Score interval for paired proportions: Tango, Statistics in Medicine 17 (1998), 891-908. ``correction`` moves both
    bounds outward by that many flips.
    """
    mirrored = PairedCounts(counts.lost, counts.gained, counts.n)
    z = float(stats.norm.ppf(1 - alpha))
    return _tango_lower(counts, z, correction), -_tango_lower(mirrored, z, correction)


def _tango_lower(counts: PairedCounts, z: float, correction: float) -> float:
    edge = 1 - 1e-9
    estimate = (counts.gained - counts.lost) / counts.n
    if estimate <= -edge:
        return -1.0
    return float(
        optimize.brentq(lambda d: float(_tango_score(counts, d, correction=correction)) - z, -edge, min(estimate, edge))
    )


def flip_bounds(counts: PairedCounts, *, alpha: float) -> tuple[float, float]:
    """Return the bounds that gates decide by: Tango's, widened to keep their level if few items flip.

    Tango's own bounds err up to 6 % of the time at a level of 5 %. A continuity correction of a quarter of a flip, and
    the exact binomial bound if all flips go one way, keep the level in every case that ``tests/studies/decisions.md``
    computes.
    """
    if counts.gained == counts.lost == 0:
        bound = exact_no_flip_bound(counts.n, alpha=alpha)
        return -bound, bound
    low, high = tango_bounds(counts, alpha=alpha, correction=CONTINUITY)
    if counts.gained == 0:
        low = min(low, -float(_exact_rate_bound(np.asarray(counts.lost), counts.n, alpha)))
    if counts.lost == 0:
        high = max(high, float(_exact_rate_bound(np.asarray(counts.gained), counts.n, alpha)))
    return low, high


def excludes_drop(gained: Counts, lost: Counts, n: int, *, margin: float, alpha: float) -> npt.NDArray[np.bool_]:
    """Tell for arrays of counts whether the lower of ``flip_bounds`` is above ``-margin``, without solving for it.

    The score statistic falls as the difference grows, so its value at ``-margin`` says on which side the bound lies.
    """
    score = _tango_score(PairedCounts(gained, lost, n), -margin, correction=CONTINUITY)  # type: ignore[arg-type]
    proven, exact = score > stats.norm.ppf(1 - alpha), _exact_rate_bound(lost, n, alpha) < margin
    return np.asarray(np.where(gained > 0, proven, exact & (proven | (lost == 0))), dtype=np.bool_)


def _exact_rate_bound(count: npt.NDArray[np.int64], n: int, alpha: float) -> npt.NDArray[np.float64]:
    """Return the exact upper bound of a rate: Clopper and Pearson, Biometrika 26 (1934), 404-413."""
    bound = stats.beta.ppf(1 - alpha, count + 1, np.maximum(n - count, 1))
    return np.where(count < n, bound, 1.0)


def _tango_score(counts: PairedCounts, difference: float, *, correction: float = 0.0) -> npt.NDArray[np.float64]:
    """Return the score statistic T(difference) with the restricted maximum-likelihood estimate in closed form."""
    gained, lost, n = counts
    # The estimate q of the loss rate under the null hypothesis is the larger root of a q^2 + b q + c = 0 (Tango 1998).
    a = 2 * n
    b = -gained - lost + (2 * n - gained + lost) * difference
    c = -lost * difference * (1 - difference)
    q = (np.sqrt(np.maximum(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = np.asarray(n * (2 * q + difference * (1 - difference)))
    distance = np.asarray(gained - lost - n * difference - correction)
    # Without variance the statistic has no value: any distance at all is then certain.
    certain = np.where(distance == 0, 0.0, np.copysign(np.inf, distance))
    return np.where(variance > 0, distance / np.sqrt(np.where(variance > 0, variance, 1.0)), certain)


def exact_no_flip_bound(n: int, *, alpha: float) -> float:
    """Return the largest drop that ``n`` items without a single flip leave possible at level ``alpha``."""
    return float(1 - alpha ** (1 / n))


def drop_p_value(counts: PairedCounts) -> float:
    """Return the exact one-sided McNemar p-value of a drop: P(lost or more of the flips) under a fair coin."""
    flips = counts.gained + counts.lost
    if flips == 0:
        return 1.0
    return float(stats.binomtest(counts.lost, flips, 0.5, alternative="greater").pvalue)


def widen(bounds: tuple[float, float], n: int, *, alpha: float) -> tuple[float, float]:
    """Widen the t bounds of ``n`` items or clusters by the continuity correction, and at least to the no-flip bound.

    Differences between rates are skewed, so t bounds err a little too often; and with few items that hardly vary they
    are too narrow.
    """
    bound, correction = exact_no_flip_bound(n, alpha=alpha), CONTINUITY / n
    return min(bounds[0] - correction, -bound), max(bounds[1] + correction, bound)


def mean_bounds(differences: Sequence[float], *, alpha: float) -> tuple[float, float, float]:
    """Return lower bound, upper bound and the p-value of a drop from the t distribution over items."""
    n = len(differences)
    mean = math.fsum(differences) / n
    deviation = math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (n - 1))
    # Equal differences have no t statistic; ``widen`` keeps such bounds from being certain.
    if deviation == 0:
        return mean, mean, 0.0 if mean < 0 else 1.0
    error = deviation / math.sqrt(n)
    reach = float(stats.t.ppf(1 - alpha, n - 1)) * error
    return mean - reach, mean + reach, float(stats.t.cdf(mean / error, n - 1))
