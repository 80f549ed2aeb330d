"""W8A16 and W4A16 by ``npu_weight_quant_batchmatmul``: scales per channel or in groups, zero points as offsets."""

import torch
from torch.nn.functional import pad

from quantguard.kernels.ascend import vendor
from quantguard.kernels.ascend.vendor import INT4_IN_INT32
from quantguard.kernels.int8_linear import Buffers
from quantguard.numerics import QuantTensor
from quantguard.records import QuantArgs

# Scale, weight and result round to the type of the activations here, weight and result in the contract: six half steps.
TOLERANCE = {torch.float16: 2**-8, torch.bfloat16: 2**-5}


def unsupported(weights: QuantArgs) -> str | None:
    """Give the reason why the operation cannot take such weights, or run here, or None."""
    if weights.group_size is not None and weights.group_size % 32:
        return "its weight_only_linear takes groups of a multiple of 32."
    return vendor.unavailable("npu_weight_quant_batchmatmul", "npu_convert_weight_to_int4pack")


def pack(weight: QuantTensor) -> Buffers:
    """Pack up to four bits to int32 ``[k, n / 8]``, padded to whole int32; keep more as int8 ``[n, k]``.

    ``scale`` and ``offset``, minus the zero point, are float32 ``[num_groups, n]``; ``outputs`` is empty: its length is
    the number of outputs.
    """
    outputs = len(weight.data)
    packs = weight.args.num_bits <= 4
    extra = -outputs % INT4_IN_INT32 if packs else 0
    data = pad(weight.data, (0, 0, 0, extra))
    buffers = {
        "data": vendor.convert_weight_to_int4pack(data.t().contiguous()) if packs else data,
        "scale": pad(weight.scale, (0, 0, 0, extra), value=1.0).t().contiguous(),
        "outputs": weight.scale.new_empty(outputs, 0),
    }
    if weight.zero_point is not None:
        buffers["offset"] = -pad(weight.zero_point, (0, 0, 0, extra)).t().contiguous().float()
    return buffers


def apply(x: torch.Tensor, weight: Buffers, bias: torch.Tensor | None, *, args: QuantArgs) -> torch.Tensor:
    """Dequantize in the type of ``x`` and multiply; float16 and bfloat16 only."""
    data, outputs = weight["data"], len(weight["outputs"])
    extra = weight["scale"].shape[1] - outputs
    groups = {name: weight[name].to(x.dtype) for name in ("scale", "offset") if name in weight}
    grouped = len(weight["scale"]) > 1
    factors = {name: tensor if grouped else tensor[0] for name, tensor in groups.items()}
    if bias is not None:
        bias = pad(bias, (0, extra)).to(torch.float32 if x.dtype == torch.bfloat16 else x.dtype)
    return vendor.weight_quant_matmul(
        x,
        data if data.dtype == torch.int32 else data.t(),
        factors["scale"],
        offset=factors.get("offset"),
        bias=bias,
        group_size=args.group_size or 0 if grouped else 0,
    )[:, :outputs]
