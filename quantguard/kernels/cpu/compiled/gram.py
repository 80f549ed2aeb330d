"""The Gram matrix of bfloat16 inputs on tiles: each product of two blocks of 32 channels, on and above the diagonal.

``x`` is laid out twice, in tiles of 16 channels by 32 tokens: as the right factor with every two tokens side by side,
and, each tile transposed, as the left one.
"""

import numpy as np

from quantguard.kernels.cpu.compiled import amx, lines
from quantguard.kernels.cpu.compiled.lines import address
from quantguard.kernels.cpu.compiled.parts import run_parts
from quantguard.numerics.compile_cache import compiled

BLOCK = 2 * amx.ROWS
# Tokens of a tile.
TOKENS = 32


@compiled()
def add(x, gram, tiles, num_parts, launch):
    """Add ``xT x`` to the blocks of ``gram`` on and above the diagonal.

    x: bfloat16 as uint16 ``[num_tokens, width]``, multiples of 32. gram: float32 ``[width, width]``. tiles: room,
    uint8 ``[2, width / 16, num_tokens / 32, 1,024]``.
    """
    num_blocks = x.shape[1] // BLOCK
    num_products = num_blocks * (num_blocks + 1) // 2
    if launch and num_parts > 1:
        run_parts(_lay_out, (x, tiles), tiles.shape[1], num_parts, launch)
        run_parts(_multiply, (tiles, gram), num_products, num_parts, launch)
    else:
        _lay_out(x, tiles, 0, tiles.shape[1])
        _multiply(tiles, gram, 0, num_products)


@compiled()
def _lay_out(x, tiles, start, stop):
    row_bytes, num_steps = 2 * x.shape[1], tiles.shape[2]
    for channels in range(start, stop):
        for step in range(num_steps):
            source = address(x) + step * TOKENS * row_bytes + channels * 2 * amx.ROWS
            left, right = _tile(tiles, 0, channels, step), _tile(tiles, 1, channels, step)
            for pair in range(TOKENS // 2):
                token = source + 2 * pair * row_bytes
                lines.interleave(token, token + row_bytes, right + 64 * pair)
            lines.transpose(right, left)


@compiled()
def _multiply(tiles, gram, start, stop):
    amx.configure(BLOCK, np.zeros(amx.PALETTE_BYTES, np.uint8))
    row_bytes, apart = 4 * gram.shape[1], amx.TILE_BYTES * tiles.shape[2]
    upper, first = 0, 0
    for product in range(start, stop):
        # Products go along the rows of blocks, from the diagonal on.
        while product - first >= gram.shape[1] // BLOCK - upper:
            first += gram.shape[1] // BLOCK - upper
            upper += 1
        right = upper + product - first
        target = address(gram) + upper * BLOCK * row_bytes + right * BLOCK * 4
        amx.load_upper(target, row_bytes)
        amx.load_lower(target, row_bytes)
        a, b = _tile(tiles, 0, 2 * upper, 0), _tile(tiles, 1, 2 * right, 0)
        for _ in range(tiles.shape[2]):
            amx.multiply_bfloat16(a, a + apart, b, b + apart)
            a += amx.TILE_BYTES
            b += amx.TILE_BYTES
        amx.store_upper(target, row_bytes)
        amx.store_lower(target, row_bytes)
    amx.release()


@compiled()
def _tile(tiles, side, channels, step):
    """Return the address of a tile."""
    return address(tiles) + ((side * tiles.shape[1] + channels) * tiles.shape[2] + step) * amx.TILE_BYTES
