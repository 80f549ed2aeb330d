"""The ratio of two timings that were measured in turn within one run."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class RatioEstimate(NamedTuple):
    """A ratio with one-sided bounds."""

    ratio: float
    low: float
    high: float


def log_ratio_bounds(log_ratios: Sequence[float], *, alpha: float) -> RatioEstimate:
    """Estimate ``exp`` of the centre of paired log ratios: Hodges-Lehmann with Wilcoxon signed-rank bounds.

    The bounds are order statistics of the Walsh averages, each one-sided of level ``alpha``
    (Hollander and Wolfe, Nonparametric Statistical Methods, section 3.3).
    """
    values = np.asarray(log_ratios, dtype=np.float64)
    rows, columns = np.triu_indices(len(values))
    walsh = np.sort((values[rows] + values[columns]) / 2)
    index = _signed_rank_quantile(len(values), alpha)
    low, high = walsh[index], walsh[len(walsh) - 1 - index]
    return RatioEstimate(math.exp(float(np.median(walsh))), math.exp(float(low)), math.exp(float(high)))


def _signed_rank_quantile(n: int, alpha: float) -> int:
    """Return how many Walsh averages may be cut from an end: the normal approximation with continuity correction."""
    mean = n * (n + 1) / 4
    deviation = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    return max(0, math.floor(mean - float(stats.norm.ppf(1 - alpha)) * deviation - 0.5))
