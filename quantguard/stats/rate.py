"""Exact bounds of a rate among independent items."""

from scipy import stats


def rate_bounds(count: int, n: int, *, alpha: float) -> tuple[float, float]:
    """Return exact bounds of a rate, each one-sided of level ``alpha``, from ``count`` of ``n`` items.

    Clopper and Pearson, The use of confidence or fiducial limits illustrated in the case of the binomial (1934).
    """
    low = 0.0 if count == 0 else float(stats.beta.ppf(alpha, count, n - count + 1))
    high = 1.0 if count == n else float(stats.beta.ppf(1 - alpha, count + 1, n - count))
    return low, high
