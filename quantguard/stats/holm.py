"""Holm's adjustment of p-values for multiple tests."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust p-values so that rejecting all that are at most ``alpha`` makes any error with probability ``alpha``.

    Holm, Scandinavian Journal of Statistics 6 (1979), 65-70; no independence is assumed.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        # The running maximum keeps the order of the p-values: nothing is rejected behind the first that is kept.
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)
