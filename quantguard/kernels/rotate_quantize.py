"""Contract: rotate activations by a Kronecker product, then quantize per token (``npu_kronecker_quant`` to int8)."""

import torch

from quantguard import numerics
from quantguard.records import QuantArgs

# float32 against the sums of another order: what is next to a tie may round to the other side, and a rotated number to
# its neighbour in the type of x, of which bfloat16 has 128 between two powers of two.
LARGEST_STEP = 1
SHARE_OF_STEPS = 0.002


def unsupported(_args: QuantArgs) -> str | None:
    """Return None: the reference takes every setting."""
    return None


def apply(
    x: torch.Tensor, left: torch.Tensor | None, right: torch.Tensor, *, args: QuantArgs
) -> tuple[torch.Tensor, torch.Tensor]:
    """Multiply rows ``[num_tokens, a * b]`` by ``A ⊗ B``, round to the type of ``x``, and quantize as per token.

    left: ``[a, a]``, absent for the identity (a block-diagonal rotation); right: ``[b, b]``; both are rounded to the
    type of ``x`` first, and products summed in float32. Not bit for bit: another body may differ by ``LARGEST_STEP`` in
    ``SHARE_OF_STEPS`` of the integers.
    """
    right = right.to(x.dtype).float()
    matrix = x.float().unflatten(-1, (-1, len(right))) @ right
    if left is not None:
        matrix = left.to(x.dtype).float().t() @ matrix
    return numerics.quantize_tokens(matrix.flatten(-2).to(x.dtype), args)
