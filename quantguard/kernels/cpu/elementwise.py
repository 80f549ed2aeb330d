"""The elementwise ends of a quantized linear layer, each one pass over memory, compiled on first use.

bfloat16 travels as the int16 of its bits, since neither NumPy nor Numba has the type.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from quantguard.numerics.parallel import over_range

SMALLEST_SCALE = np.float32(1e-30)
# Adding 1.5 * 2^23 to a float32 below 2^22 rounds it half to even into the low bits of the sum.
_ROUNDER = np.float32(12582912.0)
_ROUNDER_BITS = np.int32(0x4B400000)
# Below this many elements a second thread takes longer to wake than it saves.
_PARALLEL_ELEMENTS = 1 << 17


def over_rows(kernel: Callable[..., None], *arrays: Any) -> None:
    """Run ``kernel(*arrays, start, stop)`` over all rows of the last array, on several threads where that pays."""
    rows = len(arrays[-1])
    if arrays[-1].size < _PARALLEL_ELEMENTS:
        kernel(*arrays, 0, rows)
    else:
        over_range(rows, kernel, *arrays)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[misc, unused-ignore]
def quantize_rows(x, maximum, clip_ratio, scale, q, start, stop):  # type: ignore[no-untyped-def]
    """Quantize float32 ``x`` ``[rows, columns]`` into int8 ``q`` and float32 ``scale`` ``[rows, 1]``."""
    columns, minimum = x.shape[1], -maximum - np.float32(1)
    all_bits = x.view(np.int32)
    largest_bits = np.empty(1, np.int32)
    for row in range(start, stop):
        # Without its sign bit a float compares as the integer of its bits, and a NaN, which must show, is the largest.
        largest = np.int32(0)
        for column in range(columns):
            largest = max(largest, np.int32(all_bits[row, column] & np.int32(0x7FFFFFFF)))
        largest_bits[0] = largest
        step = largest_bits.view(np.float32)[0] * clip_ratio / maximum
        step = max(step, SMALLEST_SCALE)
        scale[row, 0] = step
        rounded = np.empty(columns, np.float32)
        bits = rounded.view(np.int32)
        for column in range(columns):
            rounded[column] = max(min(x[row, column] / step, maximum), minimum) + _ROUNDER
        for column in range(columns):
            q[row, column] = np.int8(bits[column] - _ROUNDER_BITS)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[misc, unused-ignore]
def quantize_bf16_rows(x, maximum, clip_ratio, scale, q, start, stop):  # type: ignore[no-untyped-def]
    """As :func:`quantize_rows`, for bfloat16 given as int16 bits."""
    columns, minimum = x.shape[1], -maximum - np.float32(1)
    for row in range(start, stop):
        largest = np.int16(0)
        for column in range(columns):
            largest = max(largest, np.int16(x[row, column] & np.int16(0x7FFF)))
        bits = np.empty(columns, np.int32)
        values = bits.view(np.float32)
        bits[0] = np.int32(largest) << 16
        step = values[0] * clip_ratio / maximum
        step = max(step, SMALLEST_SCALE)
        scale[row, 0] = step
        for column in range(columns):
            bits[column] = np.int32(x[row, column]) << 16
        for column in range(columns):
            values[column] = max(min(values[column] / step, maximum), minimum) + _ROUNDER
        for column in range(columns):
            q[row, column] = np.int8(bits[column] - _ROUNDER_BITS)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[misc, unused-ignore]
def dequantize_rows(accumulated, x_scale, w_scale, bias, y, start, stop):  # type: ignore[no-untyped-def]
    """Scale int32 or float32 ``accumulated`` ``[rows, columns]`` into float32 ``y``; an empty ``bias`` adds nothing."""
    columns = accumulated.shape[1]
    for row in range(start, stop):
        step = x_scale[row, 0]
        for column in range(columns):
            y[row, column] = np.float32(accumulated[row, column]) * step * w_scale[column]
        for column in range(bias.shape[0]):
            y[row, column] += bias[column]


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[misc, unused-ignore]
def dequantize_bf16_rows(accumulated, x_scale, w_scale, bias, y, start, stop):  # type: ignore[no-untyped-def]
    """As :func:`dequantize_rows` into bfloat16 given as uint16 bits, rounded half to even."""
    columns = accumulated.shape[1]
    for row in range(start, stop):
        step = x_scale[row, 0]
        values = np.empty(columns, np.float32)
        bits = values.view(np.uint32)
        for column in range(columns):
            values[column] = np.float32(accumulated[row, column]) * step * w_scale[column]
        for column in range(bias.shape[0]):
            values[column] += bias[column]
        for column in range(columns):
            carry = np.uint32(0x7FFF) + ((bits[column] >> np.uint32(16)) & np.uint32(1))
            y[row, column] = np.uint16((bits[column] + carry) >> np.uint32(16))
