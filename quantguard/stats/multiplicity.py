"""Many tests at once: how small a p-value has to be when it is one of several."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return adjusted p-values: that any at most ``alpha`` is wrong has probability ``alpha`` at most.

    Holm, Scandinavian Journal of Statistics 6 (1979), 65-70; no independence is assumed.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)
