"""W8A8 by ``npu_quant_matmul`` with a scale for every token."""

import torch

from quantguard.kernels.ascend import vendor
from quantguard.kernels.int8_linear import Buffers
from quantguard.numerics import QuantTensor
from quantguard.records import QuantArgs

# Both scales multiply in another order than the contract's, then one rounding to the output type: its last bit.
TOLERANCE = {torch.float16: 2**-10, torch.bfloat16: 2**-7}


def unsupported(weights: QuantArgs) -> str | None:
    """Give the reason why the operation cannot take such weights, or run here, or None."""
    if weights.strategy != "channel" or not weights.symmetric:
        return "its int8_linear takes symmetric weights with one scale a channel."
    return vendor.unavailable("npu_quant_matmul")


def pack(weight: QuantTensor) -> Buffers:
    """Keep int8 ``[out_features, in_features]``; the operation is handed its transpose, which is no copy."""
    return {"data": weight.data, "scale": weight.scale.flatten()}


def apply(
    x: torch.Tensor,
    x_scale: torch.Tensor,
    weight: Buffers,
    bias: torch.Tensor | None,
    *,
    args: QuantArgs,
    output_dtype: torch.dtype,
) -> torch.Tensor:
    """Multiply and dequantize as the contract says; float16 and bfloat16 only."""
    del args
    return vendor.quant_matmul(
        x,
        weight["data"].t(),
        weight["scale"],
        pertoken_scale=x_scale.flatten(),
        bias=bias,
        output_dtype=output_dtype,
    )
