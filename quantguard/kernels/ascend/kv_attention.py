"""Attention over an int8 KV cache by ``npu_fused_infer_attention_score``, dequantized per channel on the way."""

import torch

from quantguard.kernels.ascend import vendor
from quantguard.records import QuantArgs

# The scales and the dequantized keys and values round to the query's type.
TOLERANCE = {torch.float16: 2**-8, torch.bfloat16: 2**-5}


def unsupported(_weights: QuantArgs) -> str | None:
    """Give the reason why the operation cannot run here, or None."""
    return vendor.unavailable("npu_fused_infer_attention_score")


def apply(
    query: torch.Tensor,
    cache: tuple[torch.Tensor, torch.Tensor],
    scales: tuple[torch.Tensor, torch.Tensor],
    lengths: list[int],
    *,
    num_heads: int,
    num_key_value_heads: int,
    softmax_scale: float,
) -> torch.Tensor:
    """Attend as the contract says; float16 and bfloat16 only."""
    keys, values = (scale.to(query.dtype)[None] for scale in scales)
    return vendor.attention_int8(
        query,
        cache,
        (keys, values),
        lengths,
        num_heads=num_heads,
        num_key_value_heads=num_key_value_heads,
        softmax_scale=softmax_scale,
    )
