"""Bounds of the ratio of two timings that alternate within one run."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class RatioEstimate(NamedTuple):
    """A ratio with one-sided bounds ``low`` and ``high``."""

    ratio: float
    low: float
    high: float


def log_ratio_bounds(log_ratios: Sequence[float], *, alpha: float) -> RatioEstimate:
    """Estimate ``exp`` of the centre of paired log ratios: Hodges-Lehmann with Wilcoxon signed-rank bounds.

    The bounds are order statistics of the Walsh averages, each one-sided of level ``alpha`` where the values are
    symmetric about their centre (Hollander and Wolfe, Nonparametric Statistical Methods, section 3.3). Raises
    ValueError for so few values that no order statistic has that level.
    """
    values = np.asarray(log_ratios, dtype=np.float64)
    rows, columns = np.triu_indices(len(values))
    walsh = np.sort((values[rows] + values[columns]) / 2)
    index = _signed_rank_quantile(len(values), alpha)
    low, high = walsh[index], walsh[len(walsh) - 1 - index]
    return RatioEstimate(math.exp(float(np.median(walsh))), math.exp(float(low)), math.exp(float(high)))


@functools.lru_cache(maxsize=64)
def _signed_rank_quantile(n: int, alpha: float) -> int:
    """Return how many Walsh averages may be cut from an end: the largest t with P(T <= t) <= alpha, T the rank sum."""
    # The rank sum's distribution, one rank at a time: each rank is added or not with probability a half.
    probabilities = np.ones(1)
    for rank in range(1, n + 1):
        shifted = np.concatenate([np.zeros(rank), probabilities])
        probabilities = (np.concatenate([probabilities, np.zeros(rank)]) + shifted) / 2
    index = int(np.searchsorted(np.cumsum(probabilities), alpha, side="right")) - 1
    if index < 0:
        raise ValueError(f"{n} values have no bound of level {alpha:g}: at least {math.ceil(-math.log2(alpha))} do")
    return index
