"""Attention over int8 keys and values by ``npu_fused_infer_attention_score``, which dequantizes them on the way."""

import torch

from quantguard.kernels.ascend import kv_cache, vendor
from quantguard.kernels.kv_cache import Stored
from quantguard.numerics import KVQuantizer
from quantguard.records import QuantArgs

# The scales of channels round to the query's type, and so may dequantized keys and values.
TOLERANCE = {torch.float16: 2**-8, torch.bfloat16: 2**-5}


def unsupported(args: QuantArgs) -> str | None:
    """Give the reason why the operation cannot attend to such a cache, or run here, or None."""
    if args.num_bits != 8:
        return f"its kv_attention reads 8 bits, not {args.num_bits}."
    return kv_cache.unsupported(args) or vendor.unavailable("npu_fused_infer_attention_score")


def apply(
    query: torch.Tensor,
    stored: tuple[Stored, Stored],
    quantizers: tuple[KVQuantizer, KVQuantizer],
    hidden: torch.Tensor | None,
    *,
    softmax_scale: float,
) -> torch.Tensor:
    """Attend as the contract says; float16 and bfloat16 only."""
    keys, values = (_scale(part, quantizer, query) for part, quantizer in zip(stored, quantizers, strict=True))
    offsets = None
    if "offset" in stored[0]:
        # The operation adds its offset to the integers.
        offsets = (-stored[0]["offset"].squeeze(-1), -stored[1]["offset"].squeeze(-1))
    return vendor.attention_int8(
        query.contiguous(),
        (stored[0]["data"].contiguous(), stored[1]["data"].contiguous()),
        (keys, values),
        offsets,
        hidden,
        softmax_scale=softmax_scale,
    )


def _scale(stored: Stored, quantizer: KVQuantizer, query: torch.Tensor) -> torch.Tensor:
    """Return float32 ``[batch, heads, tokens]``, or ``[1, heads, 1, head_dim]`` in the query's type."""
    if quantizer.scale is not None:
        return quantizer.scale[None].to(query.dtype)
    return stored["scale"].squeeze(-1).contiguous()
