"""Weights of four bits stay packed in memory and are unpacked for each call of the INT8 matmul."""

import torch

from quantguard.kernels import int4_linear as reference
from quantguard.kernels.cpu import int8_linear
from quantguard.kernels.int8_linear import Buffers
from quantguard.numerics import QuantTensor, unpack_int4
from quantguard.records import QuantArgs


def unsupported(weights: QuantArgs) -> str | None:
    """Give the reason why the kernel cannot take such weights, or None."""
    return reference.unsupported(weights) or int8_linear.unsupported(weights)


def pack(weight: QuantTensor) -> Buffers:
    """Pack two weights to a byte."""
    return {"data": reference.pack(weight)["data"], "scale": weight.scale.flatten()}


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
    del args
    data = unpack_int4(weight["data"], x.shape[1])
    accumulated = torch._int_mm(x, data.t())  # noqa: SLF001 - the only integer matmul that torch has
    return int8_linear.rescale(accumulated, x_scale, weight["scale"], bias, output_dtype)
