"""Contract: integer activations times integer weights, accumulated in int32 and dequantized with both scales.

The arithmetic of the vendor's ``npu_quant_matmul`` with ``pertoken_scale``: per scale group of the weight,
``y = float32(sum_k x[t, k] * (w[n, k] - z[n])) * x_scale[t] * w_scale[n]``, groups added in order, then the bias,
then one rounding to ``output_dtype``. Each product and sum rounds to float32 in the order written. A bias of int32 is
in steps of both scales and is added to the integer sum of the first group.

A backend may besides have ``quantize_and_apply(x, weight, bias, *, args, input_args)``, which quantizes float ``x`` per
token and multiplies in one call: the same bits as ``quantize_per_token`` and ``apply``, in the type of ``x``.
"""

import torch

from quantguard.numerics import QuantTensor, group_slices
from quantguard.records import QuantArgs

Buffers = dict[str, torch.Tensor]


def unsupported(_weights: QuantArgs) -> str | None:
    """Return None: the reference takes every weight."""
    return None


def pack(weight: QuantTensor) -> Buffers:
    """Keep the weight as it is: int8 data, float32 scale and, where asymmetric, int32 zero point, per group."""
    buffers = {"data": weight.data, "scale": weight.scale}
    if weight.zero_point is not None:
        buffers["zero_point"] = weight.zero_point
    return buffers


def apply(
    x: torch.Tensor,
    x_scale: torch.Tensor,
    weight: Buffers,
    bias: torch.Tensor | None,
    *,
    args: QuantArgs,
    output_dtype: torch.dtype,
) -> torch.Tensor:
    """Multiply and dequantize.

    x: int8, shape ``[num_tokens, in_features]``. x_scale: float32 ``[num_tokens, 1]``.
    weight: the buffers of :func:`pack`. bias: float32 or int32 ``[out_features]``, or absent.
    Returns ``output_dtype``, shape ``[num_tokens, out_features]``.
    """
    data, scale = weight["data"], weight["scale"]
    total = torch.zeros(x.shape[0], data.shape[0])
    for group, columns in enumerate(group_slices(data.shape[1], args)):
        # float64 holds every int32 exactly, and its product runs on BLAS where an integer one does not.
        values = data[:, columns].double()
        if "zero_point" in weight:
            values = values - weight["zero_point"][:, group : group + 1]
        accumulated = x[:, columns].double() @ values.t()
        if bias is not None and bias.dtype == torch.int32:
            accumulated, bias = accumulated + bias, None
        total += accumulated.float() * x_scale * scale[:, group]
    if bias is not None:
        total += bias
    return total.to(output_dtype)
