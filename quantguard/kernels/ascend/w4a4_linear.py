"""W4A4 by ``npu_quant_matmul`` on int4 activations and int4 weights, eight to an int32 each."""

import torch
from torch.nn.functional import pad

from quantguard.errors import KernelError
from quantguard.kernels.ascend import vendor
from quantguard.kernels.ascend.vendor import INT4_IN_INT32
from quantguard.kernels.int8_linear import Buffers
from quantguard.numerics import QuantTensor
from quantguard.records import QuantArgs

# Both scales multiply in another order than the contract's, then a rounding, and a second one where there is a bias.
TOLERANCE = {torch.float16: 2**-9, torch.bfloat16: 2**-6}


def unsupported(weights: QuantArgs) -> str | None:
    """Give the reason why the operation cannot take such weights, or run here, or None."""
    if weights.num_bits > 4 or weights.strategy != "channel" or not weights.symmetric:
        return "beside 4-bit activations it takes symmetric 4-bit weights with one scale a channel."
    return vendor.unavailable("npu_quant_matmul", "npu_convert_weight_to_int4pack")


def pack(weight: QuantTensor) -> Buffers:
    """Pack to int32 ``[k, n / 8]``, the outputs padded with zeros to whole int32.

    ``outputs`` is empty: its length is the number of outputs. Raises KernelError for inputs that fill no whole int32.
    """
    outputs, inputs = weight.data.shape
    if inputs % INT4_IN_INT32:
        raise KernelError(
            f"w4a4_linear: found {inputs} inputs; possible: a multiple of {INT4_IN_INT32}. Ignore this layer in the"
            " recipe"
        )
    extra = -outputs % INT4_IN_INT32
    return {
        "data": vendor.convert_weight_to_int4pack(pad(weight.data, (0, 0, 0, extra)).t().contiguous()),
        "scale": pad(weight.scale.flatten(), (0, extra), value=1.0),
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
    """Multiply and dequantize as the contract says, ``x`` int32 ``[num_tokens, in_features / 8]``.

    float16 and bfloat16 only. The operation takes no float bias beside int4: it is added behind it, which rounds twice.
    """
    del args
    y = vendor.quant_matmul_w4a4(
        x, weight["data"], weight["scale"], pertoken_scale=x_scale.flatten(), output_dtype=output_dtype
    )[:, : len(weight["outputs"])]
    return y if bias is None else (y.float() + bias).to(output_dtype)
