"""The integer linears on tiles: a weight's chunk is met by all rows while it stays in the nearest cache.

A chunk is 32 outputs by up to 512 inputs, 16 KiB; nibbles are unpacked to that once for a block of rows. Sums are
int32 up to the end of a scale group, then both scales go on in float32, as the contract has it.
"""

import numpy as np
from numba import types
from numba.extending import overload

from quantguard.kernels.cpu.compiled import amx, lines
from quantguard.kernels.cpu.compiled.elementwise import quantize, quantize_rows
from quantguard.kernels.cpu.compiled.lines import NIBBLE_BYTES, address, prefetch, unpack_nibbles
from quantguard.kernels.cpu.compiled.parts import run_parts
from quantguard.numerics.compile_cache import compiled

OUTPUTS = 2 * amx.ROWS
_STEP_BYTES = 2 * amx.TILE_BYTES
_STEPS = 8
# Of the next chunk, what is fetched beside each step of this one: with 64 steps, those of 256 rows, all of it.
_AHEAD_BYTES = 256
# Rows of the result lie far apart, so that the processor by itself does not fetch the next.
_ROWS_AHEAD = 8
# Rows that meet a chunk one after the other: with 4,096 inputs they are half of a second-level cache of 2 MiB.
_ROWS = 256


@compiled()
def multiply(x, x_scale, weight, w_scale, bias, y, group_steps, threads, launch):
    """Compute ``y`` as the contract of ``int8_linear`` has it, a share of the outputs on each thread.

    x: int8 ``[num_tokens, in_features]``, a multiple of 64. x_scale: float32 ``[num_tokens, 1]``. weight: uint8, what
    ``tiled_linear.pack`` made. w_scale: float32 ``[groups, out_features]``. bias: float32 ``[out_features]``, or empty.
    y: float32, or bfloat16 given as uint16. group_steps: 64 inputs each. launch: that of ``run_parts``.
    """
    arguments = (x, x_scale, weight, w_scale, bias, y, group_steps, 0, len(x))
    if threads > 1 and launch:
        run_parts(_multiply_blocks, arguments, len(weight), threads, launch)
    else:
        _multiply_blocks(*arguments, 0, len(weight))


@compiled()
def quantize_and_multiply(x, maximum, clip_ratio, q, x_scale, weight, w_scale, bias, y, group_steps, threads, launch):
    """Quantize float ``x`` to ``q`` and ``x_scale`` as :func:`elementwise.quantize`, and :func:`multiply`.

    Where there are enough tokens each thread goes through all outputs of some of them: what it multiplies it has just
    quantized into a cache of its own.
    """
    if threads > 1 and launch and len(x) >= threads * _ROWS:
        arguments = (x, maximum, clip_ratio, q, x_scale, weight, w_scale, bias, y, group_steps)
        run_parts(_quantize_and_multiply_rows, arguments, len(x), threads, launch)
    else:
        quantize(x, maximum, clip_ratio, x_scale, q, threads, launch)
        multiply(q, x_scale, weight, w_scale, bias, y, group_steps, threads, launch)


@compiled()
def _quantize_and_multiply_rows(x, maximum, clip_ratio, q, x_scale, weight, w_scale, bias, y, group_steps, start, stop):
    quantize_rows(x, maximum, clip_ratio, x_scale, q, start, stop)
    _multiply_blocks(q, x_scale, weight, w_scale, bias, y, group_steps, start, stop, 0, len(weight))


@compiled()
def _multiply_blocks(x, x_scale, weight, w_scale, bias, y, group_steps, first_row, last_row, start, stop):
    """Compute the outputs of the blocks of 32 from ``start`` to ``stop`` for the rows from ``first_row`` on.

    Within, nothing is sliced or put into tuples: that counts the owners of an array, on one cache line for all threads.
    """
    palette = np.zeros(amx.PALETTE_BYTES, np.uint8)
    block_rows = min(_ROWS, last_row - first_row)
    sums = np.empty((block_rows, OUTPUTS), np.int32)
    total = np.zeros((block_rows, OUTPUTS), np.float32)
    chunk = np.empty(_STEPS * _STEP_BYTES + 64, np.uint8)
    scales, addend, line = np.zeros(OUTPUTS, np.float32), np.zeros(OUTPUTS, np.float32), np.empty(OUTPUTS, np.float32)
    num_groups = len(w_scale)
    for first in range(first_row, last_row, _ROWS):
        num_rows = min(_ROWS, last_row - first)
        for block in range(start, stop):
            _copy_bias(bias, block, addend)
            for group in range(num_groups):
                _copy_scales(w_scale, group, block, scales)
                begin, is_last = group * group_steps, group == num_groups - 1
                end = min(begin + group_steps, weight.shape[1])
                for step in range(begin, end, _STEPS):
                    steps, opens = min(_STEPS, end - step), step == begin
                    # The groups before the last are rescaled at once, while their sums are in the nearest cache.
                    closes = step + steps == end and not is_last
                    ahead = _address(weight, block, step + steps)
                    tiles = _unpacked(weight, block, step, steps, chunk)
                    _add_products(
                        x,
                        x_scale,
                        first,
                        num_rows,
                        step,
                        steps,
                        opens,
                        closes,
                        tiles,
                        ahead,
                        scales,
                        sums,
                        total,
                        palette,
                    )
            _finish(sums, x_scale, first, num_rows, scales, total, num_groups > 1, addend, y, block * OUTPUTS, line)
            if num_groups > 1:
                total[:] = 0
    amx.release()


@compiled()
def _copy_bias(bias, block, target):
    """Copy the bias of a block's outputs; what lies beyond the last output stays zero."""
    for column in range(min(OUTPUTS, len(bias) - block * OUTPUTS)):
        target[column] = bias[block * OUTPUTS + column]


@compiled()
def _copy_scales(w_scale, group, block, target):
    """Copy the scales that a block's outputs have in a group."""
    for column in range(min(OUTPUTS, w_scale.shape[1] - block * OUTPUTS)):
        target[column] = w_scale[group, block * OUTPUTS + column]


@compiled()
def _address(weight, block, step):
    return address(weight) + (block * weight.shape[1] + step) * weight.shape[2]


@compiled()
def _unpacked(weight, block, step, steps, chunk):
    """Return the address of a chunk's tiles: where they are, or in ``chunk``, unpacked from nibbles."""
    source = _address(weight, block, step)
    if weight.shape[2] == _STEP_BYTES:
        return source
    tiles = (address(chunk) + 63) // 64 * 64
    for i in range(steps):
        for line in range(0, amx.TILE_BYTES, NIBBLE_BYTES):
            low = tiles + i * _STEP_BYTES + line
            unpack_nibbles(source + i * amx.TILE_BYTES + line, low, low + amx.TILE_BYTES)
    return tiles


@compiled()
def _add_products(x, x_scale, first, num_rows, step, steps, opens, closes, tiles, ahead, scales, sums, total, palette):
    """Add to ``sums`` the products of a block of rows with a chunk of weights, which may open or close a scale group.

    Meanwhile the chunk that comes next, from the address ``ahead`` on, is fetched a few lines at a time.
    """
    width, stride = x.shape[1], OUTPUTS * 4
    for row in range(0, num_rows, OUTPUTS):
        rows = min(OUTPUTS, num_rows - row)
        amx.configure(rows, palette)
        activations = address(x) + (first + row) * width + step * amx.INPUTS
        target = address(sums) + row * stride
        if opens:
            amx.zero_sums()
        else:
            amx.load_upper(target, stride)
            if rows > amx.ROWS:
                amx.load_lower(target, stride)
        if rows > amx.ROWS:
            for i in range(steps):
                for line in range(0, _AHEAD_BYTES, 64):
                    prefetch(ahead + line)
                ahead += _AHEAD_BYTES
                amx.multiply_all(activations + i * amx.INPUTS, width, tiles + i * _STEP_BYTES)
            amx.store_lower(target, stride)
        else:
            for i in range(steps):
                amx.multiply_upper(activations + i * amx.INPUTS, width, tiles + i * _STEP_BYTES)
        amx.store_upper(target, stride)
        if closes:
            _accumulate(sums, x_scale, first, row, rows, scales, total)


@compiled()
def _accumulate(sums, x_scale, first, start, num_rows, scales, total):
    """Add the sums of a group, with both scales, to ``total``, for the rows of a block from ``start`` on."""
    for row in range(start, start + num_rows):
        step = address(x_scale) + (first + row) * 4
        for column in range(0, OUTPUTS, lines.LANES):
            offset = (row * OUTPUTS + column) * 4
            target = address(total) + offset
            lines.rescale(address(sums) + offset, step, address(scales) + column * 4, target, target)


@compiled()
def _finish(sums, x_scale, first, num_rows, scales, total, has_total, bias, y, output, line):
    """Rescale the sums of the last group, add the groups before it and the bias, and write to ``y``."""
    count = min(OUTPUTS, y.shape[1] - output)
    for row in range(num_rows):
        step = address(x_scale) + (first + row) * 4
        target = address(y) + ((first + row) * y.shape[1] + output) * y.itemsize
        prefetch(target + _ROWS_AHEAD * y.shape[1] * y.itemsize)
        for column in range(0, OUTPUTS, lines.LANES):
            offset = (row * OUTPUTS + column) * 4
            # Without groups the first row of zeros serves all.
            before = address(total) + (offset if has_total else column * 4)
            at = (target if count == OUTPUTS else address(line)) + column * y.itemsize
            finish = (address(sums) + offset, step, address(scales) + column * 4, before)
            _write(y, *finish, address(bias) + column * 4, at)
        if count < OUTPUTS:
            whole = line.view(y.dtype)
            for column in range(count):
                y[first + row, output + column] = whole[column]


def _write(y, sums, x_scale, w_scale, addend, bias, target):
    """Write 16 outputs in the type of ``y``: float32, or bfloat16 given as uint16 bits."""
    raise NotImplementedError


@overload(_write)
def _overload_write(y, sums, x_scale, w_scale, addend, bias, target):
    return _write_bfloat16 if y.dtype == types.uint16 else _write_float32


def _write_bfloat16(y, sums, x_scale, w_scale, addend, bias, target):
    lines.finish_bfloat16(sums, x_scale, w_scale, addend, bias, target)


def _write_float32(y, sums, x_scale, w_scale, addend, bias, target):
    lines.finish(sums, x_scale, w_scale, addend, bias, target)
