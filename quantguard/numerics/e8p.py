"""The E8P codebook of QuIP# (Tseng et al., arXiv 2402.04396, section 4.2): 16 bits for 8 weights.

A code is one of 256 patterns of absolute values, seven free signs (the eighth makes the sum even) and a shift of a
quarter up or down. The patterns are the 227 of the lattice D8 + 1/2 with squared norm up to 10 and 29 of the 56
with squared norm 12 and five entries of 3/2, the first in lexicographic order. The residual at 3 bits is an E8
point of squared norm up to 2, or one of 15 of norm 4: 8 bits for 8 weights.
"""

import functools
import itertools

import numpy as np
import numpy.typing as npt

from quantguard.numerics.compile_cache import compiled

Array = npt.NDArray[np.float64]
# What the residual is multiplied with before it is coded, and what the input's root mean square is brought to.
RESIDUAL_SCALES = {3: 2.04, 4: 3.45}
TARGET_RMS = 1.03
_BITS = (2, 3, 4)


@functools.cache
def patterns() -> Array:
    """Return the 256 patterns of absolute values, float64 ``[256, 8]``."""
    halves = np.array(list(itertools.product((0.5, 1.5, 2.5), repeat=8)))
    norms = (halves**2).sum(axis=1)
    small = halves[norms <= 10]
    large = halves[(norms == 12) & (halves.max(axis=1) == 1.5)][:29]
    return np.concatenate((small, large))


@functools.cache
def one_bit_points() -> Array:
    """Return the residual's 1-bit codebook, float64 ``[256, 8]``: 0, the 240 roots and 15 points of norm 4."""
    whole = np.array(list(itertools.product((-1.0, 0.0, 1.0), repeat=8)))
    roots = whole[((whole**2).sum(axis=1) == 2)]
    halves = np.array(list(itertools.product((-0.5, 0.5), repeat=8)))
    half_roots = halves[np.isclose(halves.sum(axis=1) % 2, 0)]
    long = np.concatenate((2 * np.eye(8), -2 * np.eye(8)))[:15]
    return np.concatenate((np.zeros((1, 8)), roots, half_roots, long))


def quantize_vectors(values: Array, num_bits: int) -> Array:
    """Return the nearest code of every vector, float64 ``[vectors, 8]``; at 3 and 4 bits with a coded residual.

    Raises ValueError for other numbers of bits.
    """
    if num_bits not in _BITS:
        raise ValueError(f"E8P codes have 2, 3 or 4 bits, not {num_bits}")
    coded = np.empty_like(values)
    _nearest_e8p(np.ascontiguousarray(values), patterns(), coded)
    if num_bits == 2:
        return coded
    scale = RESIDUAL_SCALES[num_bits]
    residual = np.empty_like(values)
    if num_bits == 4:
        _nearest_e8p((values - coded) * scale, patterns(), residual)
    else:
        _nearest_point((values - coded) * scale, one_bit_points(), residual)
    return coded + residual / scale


@compiled()
def _nearest_e8p(values: Array, table: Array, coded: Array) -> None:  # noqa: C901 - one search, flat for the compiler
    """Fill ``coded`` ``[vectors, 8]`` with the nearest codes: exact, over both shifts and all patterns."""
    target = np.empty(8)
    for vector in range(len(values)):
        best = np.inf
        for shift in (-0.25, 0.25):
            negatives = 0
            for i in range(8):
                target[i] = values[vector, i] - shift
                negatives += target[i] < 0
            for pattern in range(len(table)):
                cost, total, cheapest, flipped = 0.0, 0.0, np.inf, 0
                for i in range(8):
                    magnitude, entry = abs(target[i]), table[pattern, i]
                    cost += (magnitude - entry) ** 2
                    total += entry
                    if magnitude * entry < cheapest:
                        cheapest, flipped = magnitude * entry, i
                # A sign more or less changes the sum by an odd number: their parity has to be that of the sum.
                odd = (negatives - int(total)) % 2 != 0
                if odd:
                    cost += 4 * cheapest
                if cost < best:
                    best = cost
                    for i in range(8):
                        negative = target[i] < 0
                        if odd and i == flipped:
                            negative = not negative
                        coded[vector, i] = (-table[pattern, i] if negative else table[pattern, i]) + shift


@compiled()
def _nearest_point(values: Array, table: Array, coded: Array) -> None:
    """Fill ``coded`` ``[vectors, 8]`` with the nearest points of a table."""
    for vector in range(len(values)):
        best = np.inf
        for point in range(len(table)):
            cost = 0.0
            for i in range(8):
                cost += (values[vector, i] - table[point, i]) ** 2
            if cost < best:
                best = cost
                for i in range(8):
                    coded[vector, i] = table[point, i]
