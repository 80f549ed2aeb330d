"""Contract: keys and values as stored integers and back, with a scale for each token and head."""

import torch

from quantguard.numerics import KVQuantizer
from quantguard.records import QuantArgs

Stored = dict[str, torch.Tensor]


def unsupported(_args: QuantArgs) -> str | None:
    """Return None: the reference stores whatever KVQuantizer does."""
    return None


def store(x: torch.Tensor, *, args: QuantArgs) -> Stored:
    """Quantize float ``[batch, heads, tokens, head_dim]`` as :meth:`quantguard.numerics.KVQuantizer.store`.

    Bit for bit: ``data`` int8, the shape of ``x``; ``scale`` float32 and, where asymmetric, ``zero_point`` int8, both
    ``[batch, heads, tokens, 1]``.
    """
    return KVQuantizer(args=args).store(x)


def restore(stored: Stored, *, args: QuantArgs, output_dtype: torch.dtype) -> torch.Tensor:
    """Dequantize in float32, ``(data - zero_point) * scale``, and round once to ``output_dtype``."""
    return KVQuantizer(args=args).restore(stored).to(output_dtype)
