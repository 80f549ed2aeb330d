"""Contract: quantize activations asymmetrically, one scale and offset a token (``npu_dynamic_quant_asymmetric``)."""

import torch

from quantguard.numerics.affine import SMALLEST_SCALE
from quantguard.records import QuantArgs


def unsupported(_weights: QuantArgs) -> str | None:
    """Return None: the weights do not matter here."""
    return None


def apply(
    x: torch.Tensor, *, args: QuantArgs, smooth: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Quantize ``x * smooth``, in float32 throughout: the values are ``(q - offset) * scale``.

    ``scale = (max - min) / (2^b - 1)``, ``offset = 2^(b-1) - 1 - max / scale``, which is no whole number, and ``q =
    clamp(round_half_even(x / scale + offset))``. The range is not widened to hold 0.
    x: float, shape ``[num_tokens, width]``. smooth: ``[width]``, or absent for ones.
    Returns int8 of the same shape, float32 scale ``[num_tokens, 1]``, at least 1e-30, and float32 offset of its shape.
    """
    values = x.float() if smooth is None else x.float() * smooth.float()
    high, low = values.amax(dim=1, keepdim=True), values.amin(dim=1, keepdim=True)
    scale = ((high - low) / (args.maximum - args.minimum)).clamp_min(SMALLEST_SCALE)
    offset = args.maximum - high / scale
    q = torch.round(values / scale + offset).clamp(args.minimum, args.maximum).to(torch.int8)
    return q, scale, offset
