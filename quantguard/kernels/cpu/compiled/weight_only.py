"""Float activations times packed integer weights: dot products for a few tokens, else the weight dequantized.

A weight stands in pieces of 128 inputs: 128 int8, or 64 bytes with inputs 0 to 63 in the low nibbles and 64 to 127 in
the high ones, each stored 8 too large. A scale group is a multiple of 64 inputs.
"""

import numpy as np
from numba import njit, types
from numba.extending import overload

from quantguard.kernels.cpu.compiled import lines
from quantguard.kernels.cpu.compiled.parts import run_parts

PIECE = 128
HALF = 64


@njit(nogil=True, cache=True)
def multiply(x, weight, scale, zero_point, bias, y, group_halves, num_parts, launch):
    """Write ``x`` times the dequantized weight, plus ``bias``, to ``y``, a share of the outputs on each thread.

    x: float32 ``[num_tokens, in_features]``, padded to pieces. weight: uint8 ``[out_features, pieces, 64 or 128]``.
    scale: float32 ``[out_features, groups]``; zero_point: int32 of that shape, or ``[0, 0]`` for none. bias: float32
    ``[out_features]``, or empty. y: float32 ``[num_tokens, out_features]``.
    """
    arguments = (x, weight, scale, zero_point, bias, y, group_halves)
    if launch and num_parts > 1:
        run_parts(_multiply_rows, arguments, len(weight), num_parts, launch)
    else:
        _multiply_rows(*arguments, 0, len(weight))


@njit(nogil=True, cache=True)
def dequantize(weight, scale, zero_point, y, group_halves, num_parts, launch):
    """Write the float weight to ``y``, float32 or bfloat16 as uint16, ``[out_features, in_features]`` in pieces."""
    arguments = (weight, scale, zero_point, y, group_halves)
    if launch and num_parts > 1:
        run_parts(_dequantize_rows, arguments, len(weight), num_parts, launch)
    else:
        _dequantize_rows(*arguments, 0, len(weight))


@njit(nogil=True, cache=True)
def _multiply_rows(x, weight, scale, zero_point, bias, y, group_halves, start, stop):
    num_halves = 2 * weight.shape[1]
    row = np.empty(weight.shape[1] * PIECE, np.int8)
    # Two sets of partial sums, so that one addition need not wait for the other.
    total = np.empty(2 * lines.LANES, np.float32)
    for output in range(start, stop):
        integers = _unpacked(weight, output, row)
        for token in range(len(x)):
            total[:] = 0
            inputs = x.ctypes.data + 4 * token * x.shape[1]
            for half in range(num_halves):
                group = half // group_halves
                zero = zero_point[output, group] if len(zero_point) else 0
                lines.add_dot(
                    inputs + 4 * HALF * half,
                    integers + HALF * half,
                    zero,
                    scale.ctypes.data + 4 * (output * scale.shape[1] + group),
                    total.ctypes.data + 4 * lines.LANES * (half % 2),
                )
            y[token, output] = total.sum() + bias[output] if len(bias) else total.sum()


@njit(nogil=True, cache=True)
def _dequantize_rows(weight, scale, zero_point, y, group_halves, start, stop):
    row = np.empty(weight.shape[1] * PIECE, np.int8)
    for output in range(start, stop):
        integers = _unpacked(weight, output, row)
        for half in range(2 * weight.shape[1]):
            group = half // group_halves
            zero = zero_point[output, group] if len(zero_point) else 0
            step = scale.ctypes.data + 4 * (output * scale.shape[1] + group)
            target = y.ctypes.data + y.itemsize * (output * y.shape[1] + half * HALF)
            _write(y, integers + HALF * half, zero, step, target)


@njit(nogil=True, cache=True)
def _unpacked(weight, output, row):
    """Return the address of an output's int8 weights: where they are, or in ``row``, unpacked from nibbles."""
    source = weight.ctypes.data + output * weight.shape[1] * weight.shape[2]
    if weight.shape[2] == PIECE:
        return source
    for piece in range(weight.shape[1]):
        low = row.ctypes.data + piece * PIECE
        lines.unpack_nibbles(source + piece * lines.NIBBLE_BYTES, low, low + HALF)
    return row.ctypes.data


def _write(y, integers, zero_point, scale, target):
    """Dequantize 64 weights in the type of ``y``."""
    raise NotImplementedError


@overload(_write)
def _overload_write(y, integers, zero_point, scale, target):
    return _write_bfloat16 if y.dtype == types.uint16 else _write_float32


def _write_bfloat16(y, integers, zero_point, scale, target):
    lines.dequantize_bfloat16(integers, zero_point, scale, target)


def _write_float32(y, integers, zero_point, scale, target):
    lines.dequantize(integers, zero_point, scale, target)
