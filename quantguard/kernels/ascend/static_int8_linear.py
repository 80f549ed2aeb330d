"""W8A8 with fixed scales by ``npu_quant_matmul``: for float16 the matrix unit itself dequantizes."""

import torch

from quantguard.kernels import static_int8_linear as reference
from quantguard.kernels.ascend import vendor
from quantguard.kernels.int8_linear import Buffers
from quantguard.numerics import QuantTensor
from quantguard.records import QuantArgs

# float16: the quantization parameter keeps 10 bits of the scale's mantissa, and the result rounds once.
TOLERANCE = {torch.float16: 2**-9, torch.bfloat16: 2**-7}


def unsupported(weights: QuantArgs) -> str | None:
    """Give the reason why the operation cannot take such weights, or run here, or None."""
    return reference.unsupported(weights) or vendor.unavailable("npu_quant_matmul", "npu_trans_quant_param")


def pack(weight: QuantTensor, input_scale: torch.Tensor, bias: torch.Tensor | None) -> Buffers:
    """Add the scales as int64 parameters, which is what the operation takes for float16."""
    buffers = reference.pack(weight, input_scale, bias)
    return {**buffers, "parameter": vendor.trans_quant_param(buffers["scale"])}


def apply(x: torch.Tensor, weight: Buffers, *, args: QuantArgs, output_dtype: torch.dtype) -> torch.Tensor:
    """Multiply and dequantize as the contract says; float16 and bfloat16 only."""
    del args
    scale = weight["parameter"] if output_dtype == torch.float16 else weight["scale"]
    return vendor.quant_matmul_static(x, weight["data"].t(), scale, bias=weight.get("bias"), output_dtype=output_dtype)
