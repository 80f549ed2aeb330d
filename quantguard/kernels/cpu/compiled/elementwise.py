"""The elementwise ends of a quantized linear layer, each one pass over memory, compiled on first use.

bfloat16 travels as the int16 of its bits, since neither NumPy nor Numba has the type.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.extending import overload

from quantguard.kernels.cpu.compiled.parts import run_parts
from quantguard.numerics.compile_cache import compiled
from quantguard.numerics.torch_threads import over_range

SMALLEST_SCALE = np.float32(1e-30)
# Adding 1.5 * 2^23 to a float32 below 2^22 rounds it half to even into the low bits of the sum.
_ROUNDER = np.float32(12582912.0)
_ROUNDER_BITS = np.int32(0x4B400000)
# Below this many elements a second thread takes longer to start than it saves.
_PARALLEL_ELEMENTS = 1 << 15


def over_rows(kernel: Callable[..., None], *arrays: Any) -> None:
    """Run ``kernel(*arrays, start, stop)`` over all rows of the last array, on several threads where that pays."""
    rows = len(arrays[-1])
    if arrays[-1].size < _PARALLEL_ELEMENTS:
        kernel(*arrays, 0, rows)
    else:
        over_range(rows, kernel, *arrays)


@compiled()
def quantize(x, maximum, clip_ratio, scale, q, num_parts, launch):
    """Quantize ``x`` ``[rows, columns]``, float32 or bfloat16 as int16, into int8 ``q`` and float32 ``scale``.

    ``scale`` is ``[rows, 1]``; ``num_parts`` and ``launch`` are those of :func:`run_parts`.
    """
    arguments = (x, maximum, clip_ratio, scale, q)
    if launch and x.size >= _PARALLEL_ELEMENTS:
        run_parts(quantize_rows, arguments, len(x), num_parts, launch)
    else:
        quantize_rows(*arguments, 0, len(x))


@compiled(error_model="numpy")
def quantize_rows(x, maximum, clip_ratio, scale, q, start, stop):
    """Quantize the rows from ``start`` to ``stop``."""
    columns, minimum = x.shape[1], -maximum - np.float32(1)
    values = np.empty(columns, np.float32)
    bits = values.view(np.int32)
    for row in range(start, stop):
        step = _widen(x, row, values) * clip_ratio / maximum
        step = max(step, SMALLEST_SCALE)
        scale[row, 0] = step
        for column in range(columns):
            values[column] = max(min(values[column] / step, maximum), minimum) + _ROUNDER
        for column in range(columns):
            q[row, column] = np.int8(bits[column] - _ROUNDER_BITS)


def _widen(x, row, values):
    """Copy a row to float32 ``values``; return the largest magnitude.

    Without its sign bit a float compares as the integer of its bits, and a NaN, which must show, is the largest.
    """
    raise NotImplementedError


@overload(_widen)
def _overload_widen(x, row, values):
    return _widen_bfloat16 if x.dtype == numba.types.int16 else _copy_float32


def _widen_bfloat16(x, row, values):
    bits, largest = values.view(np.int32), np.int16(0)
    for column in range(len(values)):
        largest = max(largest, np.int16(x[row, column] & np.int16(0x7FFF)))
        bits[column] = np.int32(x[row, column]) << 16
    return _from_bits(np.int32(largest) << 16)


def _copy_float32(x, row, values):
    bits, largest = values.view(np.int32), np.int32(0)
    for column in range(len(values)):
        values[column] = x[row, column]
    for column in range(len(values)):
        largest = max(largest, np.int32(bits[column] & np.int32(0x7FFFFFFF)))
    return _from_bits(largest)


@compiled()
def _from_bits(bits):
    word = np.empty(1, np.int32)
    word[0] = bits
    return word.view(np.float32)[0]


@compiled(error_model="numpy")
def dequantize_rows(accumulated, x_scale, w_scale, bias, y, start, stop):
    """Scale int32 or float32 ``accumulated`` ``[rows, columns]`` into float32 ``y``; an empty ``bias`` adds nothing."""
    columns = accumulated.shape[1]
    for row in range(start, stop):
        step = x_scale[row, 0]
        for column in range(columns):
            y[row, column] = np.float32(accumulated[row, column]) * step * w_scale[column]
        for column in range(bias.shape[0]):
            y[row, column] += bias[column]


@compiled(error_model="numpy")
def dequantize_bf16_rows(accumulated, x_scale, w_scale, bias, y, start, stop):
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
