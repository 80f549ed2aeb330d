"""Contract: as ``int8_linear``, where the scale of the activations is fixed and goes into the weight's.

The arithmetic of the vendor's ``npu_quant_matmul`` without ``pertoken_scale``: ``y = float32(sum_k x[t, k] * w[n, k] +
b[n]) * scale[n]``, one product in float32, then one rounding to ``output_dtype``; ``scale = x_scale * w_scale`` and the
bias is rounded to int32 in that unit.
"""

import torch

from quantguard.kernels.int8_linear import Buffers
from quantguard.numerics import QuantTensor
from quantguard.records import QuantArgs


def unsupported(weights: QuantArgs) -> str | None:
    """Give the reason why the contract does not hold for such weights, or None."""
    if weights.strategy == "channel" and weights.symmetric:
        return None
    return "static_int8_linear takes symmetric weights with one scale a channel."


def pack(weight: QuantTensor, input_scale: torch.Tensor, bias: torch.Tensor | None) -> Buffers:
    """Join the scales and round the bias.

    input_scale: float32 ``[1, 1]``. bias: float ``[out_features]`` or absent. Returns int8 data, float32 scale
    ``[out_features]`` and int32 bias ``[out_features]``, half to even and saturated.
    """
    scale = weight.scale.flatten() * input_scale.flatten()
    buffers = {"data": weight.data, "scale": scale}
    if bias is not None:
        limits = torch.iinfo(torch.int32)
        steps = torch.round(bias.double() / scale.double()).clamp(limits.min, limits.max)
        buffers["bias"] = steps.to(torch.int32)
    return buffers


def apply(x: torch.Tensor, weight: Buffers, *, args: QuantArgs, output_dtype: torch.dtype) -> torch.Tensor:
    """Multiply and dequantize.

    x: int8, shape ``[num_tokens, in_features]``. weight: the buffers of :func:`pack`.
    Returns ``output_dtype``, shape ``[num_tokens, out_features]``.
    """
    del args
    # float64 holds every sum exactly, and its product runs on BLAS where an integer one does not.
    accumulated = x.double() @ weight["data"].double().t()
    if "bias" in weight:
        accumulated += weight["bias"]
    return (accumulated.float() * weight["scale"]).to(output_dtype)
