"""Bounds that hold at whatever item a run stops: a bettor cannot get rich while the null hypothesis is true."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# The bettor's prior: no change, one item in twenty flips, with the weight of 50 items.
PRIOR_ITEMS, PRIOR_FLIPS = 50.0, 0.05
# The largest share of the wealth that one item can take.
LARGEST_STAKE = 0.8
_GRID = np.linspace(-1.0, 1.0, 2001)


def log_wealth(differences: Floats, null: Floats | float) -> Floats:
    """Return the logarithm of a bettor's wealth after each item, betting against "the mean is at most ``null``".

    ``differences`` are -1..1, shape ``[..., items]``, in random order; ``null`` has the leading shape or broadcasts to
    it. The stake on an item depends on earlier items only, so the wealth is a supermartingale under the null hypothesis
    and exceeds ``1 / alpha`` ever with probability ``alpha`` at most (Ville's inequality; Waudby-Smith and Ramdas,
    JRSS B 86 (2024), 1-27, section 4, with the stakes of its appendix B.3, "approximate Kelly").
    """
    null = np.asarray(null, dtype=np.float64)
    shape = np.broadcast_shapes(differences.shape[:-1], null.shape)
    total, squares, wealth = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    path = np.empty((*shape, differences.shape[-1]))
    # The worst item is -1, which loses ``stake * (1 + null)``: this keeps the wealth positive.
    most = LARGEST_STAKE / np.maximum(1 + null, 1e-9)
    for index in range(differences.shape[-1]):
        weight = PRIOR_ITEMS + index
        mean = total / weight
        variance = (PRIOR_ITEMS * PRIOR_FLIPS + squares) / weight - mean**2
        edge = mean - null
        # The stake is fixed before the item is seen, from earlier items and the prior alone.
        stake = np.clip(edge / (variance + edge**2), 0.0, most)
        item = differences[..., index]
        wealth = wealth + np.log1p(stake * (item - null))
        path[..., index] = wealth
        total, squares = total + item, squares + item**2
    return path


def betting_bounds(differences: Floats, *, alpha: float) -> tuple[float, float]:
    """Return lower and upper bounds of the mean, each of one-sided level ``alpha`` at whatever item the run stops.

    ``differences`` has shape ``[items]``. The bounds are rounded outward to thousandths.
    """
    return _lower(differences, alpha), -_lower(-differences, alpha)


def _lower(differences: Floats, alpha: float) -> float:
    # A mean is refuted once a bettor against it has multiplied the stake by 1 / alpha; the smallest mean that is not
    # refuted is the bound, and the grid's step below it rounds outward.
    refuted = log_wealth(differences, _GRID)[:, -1] >= np.log(1 / alpha)
    first = int(np.argmin(refuted))
    return float(_GRID[max(first - 1, 0)])
