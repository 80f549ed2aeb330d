"""Contract: float activations times dequantized integer weights (the vendor's ``npu_weight_quant_batchmatmul``)."""

import torch

from quantguard.kernels import int4_linear, int8_linear
from quantguard.kernels.int8_linear import Buffers
from quantguard.numerics import QuantTensor, dequantize, unpack_int4
from quantguard.records import QuantArgs


def unsupported(_weights: QuantArgs) -> str | None:
    """Return None: the reference takes every weight."""
    return None


def pack(weight: QuantTensor) -> Buffers:
    """Keep the weight in four bits where it fits, in eight otherwise."""
    return int4_linear.pack(weight) if int4_linear.unsupported(weight.args) is None else int8_linear.pack(weight)


def apply(x: torch.Tensor, weight: Buffers, bias: torch.Tensor | None, *, args: QuantArgs) -> torch.Tensor:
    """Dequantize in float32, round to the type of ``x`` and multiply.

    x: float, shape ``[num_tokens, in_features]``. bias: float32 ``[out_features]`` or absent.
    Returns the type of ``x``, shape ``[num_tokens, out_features]``.
    """
    dequantized = dequantize_packed(weight, x.shape[1], args).to(x.dtype)
    return torch.nn.functional.linear(x, dequantized, None if bias is None else bias.to(x.dtype))


def dequantize_packed(weight: Buffers, in_features: int, args: QuantArgs) -> torch.Tensor:
    """Return the float32 weight ``[out_features, in_features]`` that packed buffers stand for."""
    data = weight["data"]
    if data.dtype == torch.uint8:
        data = unpack_int4(data, in_features)
    return dequantize(QuantTensor(data=data, scale=weight["scale"], zero_point=weight.get("zero_point"), args=args))
