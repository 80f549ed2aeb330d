"""Weights of four bits stay packed in memory: unpacked tile by tile on a CPU with AMX, else as a whole in each call.

No library has such a product of integers without AMX (oneDNN, torchao and vLLM have none).
"""

import torch

from quantguard.kernels import int4_linear as reference
from quantguard.kernels.cpu import int8_linear, quantize_per_token, tiled_linear, weight_only_linear
from quantguard.kernels.cpu.compiled import amx
from quantguard.kernels.int8_linear import Buffers
from quantguard.numerics import QuantTensor
from quantguard.records import QuantArgs


def unsupported(weights: QuantArgs) -> str | None:
    """Give the reason why the kernel cannot take such weights, or None."""
    return reference.unsupported(weights) or int8_linear.unsupported(weights)


def pack(weight: QuantTensor) -> Buffers:
    """Pack two weights to a byte."""
    if amx.is_available():
        return tiled_linear.pack(weight, nibbles=True)
    return {"data": weight_only_linear.lay_out(weight.data, nibbles=True), "scale": weight.scale.t().contiguous()}


def apply(
    x: torch.Tensor,
    x_scale: torch.Tensor,
    weight: Buffers,
    bias: torch.Tensor | None,
    *,
    args: QuantArgs,
    output_dtype: torch.dtype,
) -> torch.Tensor:
    """Unpack, multiply and dequantize as the contract says."""
    int8_linear.refuse_integer_bias(bias)
    if amx.is_available():
        return tiled_linear.apply(x, x_scale, weight, bias, args=args, output_dtype=output_dtype)
    data = weight_only_linear.unpack(weight["data"])
    # What the last piece is padded with is zero.
    rows = torch.nn.functional.pad(x, (0, data.shape[1] - x.shape[1]))
    return int8_linear.multiply_rows(rows, x_scale, data, weight["scale"], bias, output_dtype=output_dtype)


def quantize_and_apply(
    x: torch.Tensor, weight: Buffers, bias: torch.Tensor | None, *, args: QuantArgs, input_args: QuantArgs
) -> torch.Tensor:
    """Quantize float ``x`` per token and :func:`apply`, the same bits in one call; returns the type of ``x``."""
    int8_linear.refuse_integer_bias(bias)
    if amx.is_available():
        return tiled_linear.quantize_and_apply(x, weight, bias, args=args, input_args=input_args)
    q, scale = quantize_per_token.apply(x, args=input_args)
    return apply(q, scale, weight, bias, args=args, output_dtype=x.dtype)
