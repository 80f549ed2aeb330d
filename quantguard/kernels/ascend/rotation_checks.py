"""What the vendor's rotations with quantization take silently though it is wrong."""

import torch

from quantguard.kernels.ascend import checks
from quantguard.kernels.ascend.checks import need

SMALLEST_BLOCK, LARGEST_BLOCK = 16, 1024
SHORTEST_ROW, LONGEST_ROW = 128, 16000
LARGEST_FACTOR = 256


def block(op: str, x: torch.Tensor, rotation: torch.Tensor) -> None:
    """Ask that blocks of ``rotation`` fill the rows of ``x``."""
    checks.activations(op, x)
    checks.dtype(op, "the rotation", rotation, x.dtype)
    width, size = x.shape[1], len(rotation)
    checks.shape(op, "the rotation", rotation, (size, size), "It is square.")
    need(
        op,
        holds=SMALLEST_BLOCK <= size <= LARGEST_BLOCK and width % size == 0,
        found=f"blocks of {size} in rows of {width}",
        possible=f"{SMALLEST_BLOCK} to {LARGEST_BLOCK}, dividing the row",
        advice="Set block_size in the recipe.",
    )
    need(
        op,
        holds=SHORTEST_ROW <= width <= LONGEST_ROW and width % 8 == 0,
        found=f"rows of {width}",
        possible=f"multiples of 8 from {SHORTEST_ROW} to {LONGEST_ROW}",
        advice="Rotate with backend='reference'.",
    )


def kronecker(op: str, x: torch.Tensor, left: torch.Tensor, right: torch.Tensor, clip_ratio: float) -> None:
    """Ask that ``left`` and ``right`` fit both sides of every slice of ``x``, ``[num_tokens, m, n]``."""
    need(
        op,
        holds=x.ndim == 3 and x.dtype in checks.ACTIVATION_DTYPES,
        found=f"{checks.name(x.dtype)} of shape {tuple(x.shape)}",
        possible="float16 or bfloat16 with three dimensions",
        advice="Load the model with dtype='bfloat16'.",
    )
    rows, columns = x.shape[1:]
    for what, factor, side in (("the left factor", left, rows), ("the right factor", right, columns)):
        checks.dtype(op, what, factor, x.dtype)
        checks.shape(op, what, factor, (side, side), "Learn the transform anew for this width.")
    need(
        op,
        holds=columns % 8 == 0 and max(rows, columns) <= LARGEST_FACTOR,
        found=f"factors of {rows} and {columns}",
        possible=f"at most {LARGEST_FACTOR} each, the right one a multiple of 8",
        advice="Quantize with backend='reference'.",
    )
    need(op, holds=0 < clip_ratio <= 1, found=f"clip_ratio {clip_ratio}", possible="above 0, at most 1", advice="")
