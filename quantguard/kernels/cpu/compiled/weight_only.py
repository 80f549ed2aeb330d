"""Float activations times packed integer weights: dot products for a few tokens, else the weight dequantized.

A weight stands in pieces of 128 inputs: 128 int8, or 32 words of 16 bits, word j with inputs j, 32 + j, 64 + j and
96 + j from its lowest nibble on, each stored 8 too large. A scale group is a multiple of 64 inputs.

A nibble has 16 values, and within a scale group each stands for one number. Where the processor permutes vectors by a
vector of indices, these numbers are computed once a group and looked up, 32 at a time, by the packed words themselves.
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
# How far ahead lines of the dequantized weight are fetched: the product before has driven them from the near caches.
_BYTES_AHEAD = 2048


def has_tables() -> bool:
    """Tell whether this CPU looks numbers up within a vector."""
    return lines.has("avx512bw")


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
def multiply_looked_up(x, weight, scale, zero_point, bias, y, group_halves, num_parts, launch):
    """As :func:`multiply` for nibbles, by tables; ``x`` has the inputs of a piece in the order of its nibbles."""
    arguments = (x, weight, scale, zero_point, bias, y, group_halves)
    if launch and num_parts > 1:
        run_parts(_multiply_rows_looked_up, arguments, len(weight), num_parts, launch)
    else:
        _multiply_rows_looked_up(*arguments, 0, len(weight))


@compiled()
def dequantize_looked_up(weight, scale, zero_point, y, group_halves, num_parts, launch):
    """As :func:`dequantize` for nibbles, by tables and into bfloat16."""
    arguments = (weight, scale, zero_point, y, group_halves)
    if launch and num_parts > 1:
        run_parts(_dequantize_rows_looked_up, arguments, len(weight), num_parts, launch)
    else:
        _dequantize_rows_looked_up(*arguments, 0, len(weight))


@compiled()
def dequantize(weight, scale, zero_point, y, group_halves, num_parts, launch):
    """Write the float weight to ``y``, float32 or bfloat16 as uint16, ``[out_features, in_features]`` in pieces."""
    arguments = (weight, scale, zero_point, y, group_halves)
    if launch and num_parts > 1:
        run_parts(_dequantize_rows, arguments, len(weight), num_parts, launch)
    else:
        _dequantize_rows(*arguments, 0, len(weight))


@compiled()
def unpack(weight, y, num_parts, launch):
    """Write the integers of nibbles to ``y``, int8 ``[out_features, in_features]`` in pieces."""
    if launch and num_parts > 1:
        run_parts(_unpack_rows, (weight, y), len(weight), num_parts, launch)
    else:
        _unpack_rows(weight, y, 0, len(weight))


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
                at = target + y.itemsize * half * HALF
                for line in range(0, y.itemsize * HALF, 64):
                    lines.prefetch_to_write(at + _BYTES_AHEAD + line)
                _write(y, integers + HALF * half, zero, step, at)


@compiled()
def _multiply_rows_looked_up(x, weight, scale, zero_point, bias, y, group_halves, start, stop):
    num_pieces, num_groups = weight.shape[1], scale.shape[1]
    tables = np.empty((num_groups, lines.LANES), np.float32)
    total = np.empty(4 * lines.LANES, np.float32)
    for output in range(start, stop):
        for group in range(num_groups):
            zero = zero_point[output, group] if len(zero_point) else 0
            lines.tabulate(zero, address(scale) + 4 * (output * num_groups + group), _table(tables, group))
        for token in range(len(x)):
            total[:] = 0
            for piece in range(num_pieces):
                source = address(weight) + (output * num_pieces + piece) * HALF
                first = _table(tables, 2 * piece // group_halves)
                # Behind the last input there may be no group, and nothing but zeros to multiply by.
                second = _table(tables, min((2 * piece + 1) // group_halves, num_groups - 1))
                lines.add_looked_up(
                    address(x) + 4 * (token * x.shape[1] + piece * PIECE), source, first, second, address(total)
                )
            y[token, output] = _sum(total) + (bias[output] if len(bias) else np.float32(0))


@compiled()
def _dequantize_rows_looked_up(weight, scale, zero_point, y, group_halves, start, stop):
    num_pieces, num_groups = weight.shape[1], scale.shape[1]
    tables = np.empty((num_groups, lines.WORDS), np.uint16)
    for output in range(start, stop):
        for group in range(num_groups):
            zero = zero_point[output, group] if len(zero_point) else 0
            lines.tabulate_bfloat16(zero, address(scale) + 4 * (output * num_groups + group), _table(tables, group))
        for piece in range(num_pieces):
            number = output * num_pieces + piece
            first = _table(tables, 2 * piece // group_halves)
            second = _table(tables, min((2 * piece + 1) // group_halves, num_groups - 1))
            target = address(y) + 2 * (output * y.shape[1] + piece * PIECE)
            for line in range(0, 2 * PIECE, 64):
                lines.prefetch_to_write(target + _BYTES_AHEAD + line)
            lines.look_up_bfloat16(address(weight) + number * HALF, first, second, target)


@compiled()
def _table(tables, group):
    """Return the address of a group's table of 64 bytes."""
    return address(tables) + 64 * group


@compiled()
def _unpack_rows(weight, y, start, stop):
    num_pieces = weight.shape[1]
    for piece in range(start * num_pieces, stop * num_pieces):
        lines.unpack_words(address(weight) + piece * HALF, address(y) + piece * PIECE)


@compiled()
def _unpacked(weight, output, row):
    """Return the address of an output's int8 weights: where they are, or in ``row``, unpacked from nibbles."""
    source = address(weight) + output * weight.shape[1] * weight.shape[2]
    if weight.shape[2] == PIECE:
        return source
    for piece in range(weight.shape[1]):
        lines.unpack_words(source + piece * HALF, address(row) + piece * PIECE)
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
