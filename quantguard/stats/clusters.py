"""Bounds for items that are not independent, such as questions about one passage."""

import collections
import math
from collections.abc import Hashable, Sequence

from scipy import stats


def clustered_bounds(
    differences: Sequence[float], clusters: Sequence[Hashable], *, alpha: float
) -> tuple[float, float, float]:
    """Return lower bound, upper bound and the p-value of a drop if whole clusters are sampled, not single items.

    The cluster-robust standard error of a mean (Liang and Zeger, Biometrika 73 (1986), 13-22; for evaluations Miller,
    arXiv 2411.00640, equation 4) with the correction ``G / (G - 1)`` for ``G`` clusters, and the t distribution of
    ``G - 1`` degrees of freedom. Raises ValueError for fewer than two clusters.
    """
    n = len(differences)
    mean = math.fsum(differences) / n
    # Items of a cluster may vary together, so only the sums over clusters are independent of each other.
    sums: dict[Hashable, float] = collections.defaultdict(float)
    for difference, cluster in zip(differences, clusters, strict=True):
        sums[cluster] += difference - mean
    count = len(sums)
    if count < 2:
        raise ValueError(f"{count} clusters have no variance between them")
    error = math.sqrt(math.fsum(total**2 for total in sums.values()) * count / (count - 1)) / n
    if error == 0:
        return mean, mean, 0.0 if mean < 0 else 1.0
    reach = float(stats.t.ppf(1 - alpha, count - 1)) * error
    return mean - reach, mean + reach, float(stats.t.cdf(mean / error, count - 1))
