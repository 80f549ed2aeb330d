"""Float activations times packed integer weights: dot products for a few tokens, else the weight dequantized.

A weight stands in pieces of 128 inputs: 128 int8, or 64 bytes with inputs 0 to 63 in the low nibbles and 64 to 127 in
the high ones, each stored 8 too large. A scale group is a multiple of 64 inputs.
"""

import numpy as np
from numba import types
from numba.extending import overload

from quantguard.kernels.cpu.compiled import lines
from quantguard.kernels.cpu.compiled.lines import address
from quantguard.kernels.cpu.compiled.parts import run_parts
from quantguard.numerics.compile_cache import compiled

PIECE = 128
HALF = 64


@compiled()
def multiply(x, x_sums, weight, scale, zero_point, bias, y, group_halves, num_parts, launch):
    """Write ``x`` times the dequantized weight, plus ``bias``, to ``y``, a share of the outputs on each thread.

    x: float32 ``[num_tokens, in_features]``, padded to pieces. x_sums: its sums over groups, float32 ``[num_tokens,
    groups]``, for zero points; else ``[0, 0]``. weight: uint8 ``[out_features, pieces, 64 or 128]``.
    scale: float32 ``[out_features, groups]``; zero_point: int32 of that shape, or ``[0, 0]`` for none. bias: float32
    ``[out_features]``, or empty. y: float32 ``[num_tokens, out_features]``.
    """
    arguments = (x, x_sums, weight, scale, zero_point, bias, y, group_halves)
    if launch and num_parts > 1:
        run_parts(_multiply_rows, arguments, len(weight), num_parts, launch)
    else:
        _multiply_rows(*arguments, 0, len(weight))


@compiled()
def dequantize(weight, scale, zero_point, y, group_halves, num_parts, launch):
    """Write the float weight to ``y``, float32 or bfloat16 as uint16, ``[out_features, in_features]`` in pieces."""
    arguments = (weight, scale, zero_point, y, group_halves)
    if launch and num_parts > 1:
        run_parts(_dequantize_rows, arguments, len(weight), num_parts, launch)
    else:
        _dequantize_rows(*arguments, 0, len(weight))


@compiled()
def _multiply_rows(x, x_sums, weight, scale, zero_point, bias, y, group_halves, start, stop):
    num_halves, num_groups = 2 * weight.shape[1], scale.shape[1]
    row = np.empty(weight.shape[1] * PIECE, np.int8)
    # Two sets of partial sums, so that one addition need not wait for the other.
    total = np.empty(2 * lines.LANES, np.float32)
    for output in range(start, stop):
        integers = _unpacked(weight, output, row)
        for token in range(len(x)):
            total[:] = 0
            offset = bias[output] if len(bias) else np.float32(0)
            inputs = address(x) + 4 * token * x.shape[1]
            for group in range(num_groups):
                step = address(scale) + 4 * (output * num_groups + group)
                for half in range(group * group_halves, min((group + 1) * group_halves, num_halves)):
                    sums = address(total) + 4 * lines.LANES * (half & 1)
                    lines.add_dot(inputs + 4 * HALF * half, integers + HALF * half, step, sums)
                if len(zero_point):
                    offset -= np.float32(zero_point[output, group]) * scale[output, group] * x_sums[token, group]
            y[token, output] = _sum(total) + offset


@compiled(fastmath={"reassoc"})
def _sum(values):
    """Add in whatever order is fastest."""
    total = np.float32(0)
    for value in values:
        total += value
    return total


@compiled()
def _dequantize_rows(weight, scale, zero_point, y, group_halves, start, stop):
    num_halves, num_groups = 2 * weight.shape[1], scale.shape[1]
    row = np.empty(weight.shape[1] * PIECE, np.int8)
    for output in range(start, stop):
        integers = _unpacked(weight, output, row)
        target = address(y) + y.itemsize * output * y.shape[1]
        for group in range(num_groups):
            zero = zero_point[output, group] if len(zero_point) else 0
            step = address(scale) + 4 * (output * num_groups + group)
            for half in range(group * group_halves, min((group + 1) * group_halves, num_halves)):
                _write(y, integers + HALF * half, zero, step, target + y.itemsize * half * HALF)


@compiled()
def _unpacked(weight, output, row):
    """Return the address of an output's int8 weights: where they are, or in ``row``, unpacked from nibbles."""
    source = address(weight) + output * weight.shape[1] * weight.shape[2]
    if weight.shape[2] == PIECE:
        return source
    for piece in range(weight.shape[1]):
        low = address(row) + piece * PIECE
        lines.unpack_nibbles(source + piece * lines.NIBBLE_BYTES, low, low + HALF)
    return address(row)


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
