"""W4A8 by ``npu_quant_matmul`` on int4 weights: scales per channel, or in groups of 256 inputs.

The operation has groups of 256 only, so a channel's scale is repeated for each of them. It multiplies with ``x - 8``
and adds an offset that the caller has to bring: packing computes it, so that no weight is without.
"""

import torch
from torch.nn.functional import pad

from quantguard.kernels import int4_linear as reference
from quantguard.kernels.ascend import vendor
from quantguard.kernels.ascend.vendor import INT4_IN_INT32, W4A8_GROUP
from quantguard.kernels.int8_linear import Buffers
from quantguard.numerics import QuantTensor
from quantguard.numerics.quant_param import decode_quant_param
from quantguard.records import QuantArgs

# Beside the reference with shortened scales: the order of float32 sums, and two roundings where there is a bias.
TOLERANCE = {torch.float16: 2**-9, torch.bfloat16: 2**-6}


def unsupported(weights: QuantArgs) -> str | None:
    """Give the reason why the operation cannot take such weights, or run here, or None."""
    if not weights.symmetric or (weights.strategy == "group" and weights.group_size != W4A8_GROUP):
        return f"its int4_linear takes symmetric weights with a scale a channel or for groups of {W4A8_GROUP}."
    missing = vendor.unavailable("npu_quant_matmul", "npu_convert_weight_to_int4pack", "npu_trans_quant_param")
    return reference.unsupported(weights) or missing


def pack(weight: QuantTensor) -> Buffers:
    """Pack to int32 ``[k, n / 8]``, padded with zeros to whole groups and whole int32.

    ``scale`` int64 ``[k / 256, n]`` is what the matrix unit takes, ``offset`` float32 ``[n]`` is ``8 * sum_k(w *
    scale)`` with the scales as shortened by it, and ``outputs`` is empty: its length is the number of outputs.
    """
    outputs, inputs = weight.data.shape
    padding = (0, -inputs % W4A8_GROUP, 0, -outputs % INT4_IN_INT32)
    data = pad(weight.data, padding).t().contiguous()
    groups = len(data) // W4A8_GROUP
    scale = pad(weight.scale.expand(outputs, groups), (0, 0, *padding[2:]), value=1.0).t().contiguous()
    # The conversion takes one dimension only.
    parameters = vendor.trans_quant_param(scale.flatten()).view(scale.shape)
    sums = data.view(groups, W4A8_GROUP, -1).sum(dim=1, dtype=torch.float32)
    return {
        "data": vendor.convert_weight_to_int4pack(data),
        "scale": parameters,
        "offset": 8.0 * (sums * decode_quant_param(parameters)).sum(dim=0),
        "outputs": weight.scale.new_empty(outputs, 0),
    }


def apply(
    x: torch.Tensor,
    x_scale: torch.Tensor,
    weight: Buffers,
    bias: torch.Tensor | None,
    *,
    args: QuantArgs,
    output_dtype: torch.dtype,
) -> torch.Tensor:
    """Multiply and dequantize as the contract says, with shortened scales; float16 and bfloat16 only.

    The operation has no bias: it is added behind it, which rounds twice.
    """
    del args
    y = vendor.quant_matmul_w4a8(
        pad(x, (0, len(weight["data"]) - x.shape[1])),
        weight["data"],
        weight["scale"],
        offset=weight["offset"],
        pertoken_scale=x_scale,
        output_dtype=output_dtype,
    )[:, : len(weight["outputs"])]
    return y if bias is None else (y.float() + bias).to(output_dtype)
