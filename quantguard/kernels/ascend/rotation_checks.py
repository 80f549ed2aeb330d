"""What the vendor's rotations with quantization take silently though it is wrong."""

import torch

from quantguard.kernels.ascend import checks
from quantguard.kernels.ascend.checks import need

SMALLEST_BLOCK, LARGEST_BLOCK = 16, 1024
SHORTEST_ROW, LONGEST_ROW = 128, 16000
LARGEST_FACTOR = 256
BLOCKS = (
    f"it takes blocks of {SMALLEST_BLOCK} to {LARGEST_BLOCK} in rows of a multiple of 8 from {SHORTEST_ROW} to"
    f" {LONGEST_ROW}."
)
FACTORS = f"it takes factors of at most {LARGEST_FACTOR}, the right one a multiple of 8."


def block_fits(width: int, size: int) -> bool:
    """Tell whether ``npu_rotate_quant`` takes rows of ``width`` in blocks of ``size``."""
    fills = SMALLEST_BLOCK <= size <= LARGEST_BLOCK and width % size == 0
    return fills and SHORTEST_ROW <= width <= LONGEST_ROW and width % 8 == 0


def kronecker_fits(left: int, right: int) -> bool:
    """Tell whether ``npu_kronecker_quant`` takes factors of these sides."""
    return right % 8 == 0 and max(left, right) <= LARGEST_FACTOR


def block(op: str, x: torch.Tensor, rotation: torch.Tensor) -> None:
    """Ask that blocks of ``rotation`` fill the rows of ``x``."""
    checks.activations(op, x)
    checks.dtype(op, "the rotation", rotation, x.dtype)
    width, size = x.shape[1], len(rotation)
    checks.shape(op, "the rotation", rotation, (size, size), "It is square.")
    need(
        op,
        holds=block_fits(width, size),
        found=f"blocks of {size} in rows of {width}",
        possible=f"{SMALLEST_BLOCK} to {LARGEST_BLOCK} in rows of a multiple of 8 from {SHORTEST_ROW} to {LONGEST_ROW}",
        advice="Set block_size in the recipe, or rotate with backend='reference'.",
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
        holds=kronecker_fits(rows, columns),
        found=f"factors of {rows} and {columns}",
        possible=f"at most {LARGEST_FACTOR} each, the right one a multiple of 8",
        advice="Quantize with backend='reference'.",
    )
    need(op, holds=0 < clip_ratio <= 1, found=f"clip_ratio {clip_ratio}", possible="above 0, at most 1", advice="")
