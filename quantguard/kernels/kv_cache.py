"""Contract: keys and values as stored integers and back, scaled per token and head or per head and channel."""

import torch

from quantguard.numerics import KVQuantizer
from quantguard.records import QuantArgs

Stored = dict[str, torch.Tensor]


def unsupported(_args: QuantArgs) -> str | None:
    """Return None: the reference stores whatever KVQuantizer does."""
    return None


def store(x: torch.Tensor, quantizer: KVQuantizer) -> Stored:
    """Quantize float ``[batch, heads, tokens, head_dim]`` as :meth:`quantguard.numerics.KVQuantizer.store`.

    ``data`` int8 in the shape of ``x``, or uint8 with half its channels for 4 bits; with a scale a token ``scale``
    float32 and, where asymmetric, ``zero_point`` int8, both ``[batch, heads, tokens, 1]``. A backend may store other
    tensors, under other names: all have tokens as their last dimension but one.
    """
    return quantizer.store(x)


def restore(stored: Stored, quantizer: KVQuantizer, *, output_dtype: torch.dtype) -> torch.Tensor:
    """Dequantize in float32, ``(data - zero_point) * scale``, and round once to ``output_dtype``."""
    return quantizer.restore(stored).to(output_dtype)
