"""INT8 matmul on the cube cores, dequantized on the vector cores beside them before anything is written."""

import torch
import triton.language as tl

from quantguard.kernels.int8_linear import Buffers
from quantguard.kernels.triton.forms import MULTIPLY_INT8
from quantguard.kernels.triton.launch import kernel
from quantguard.kernels.triton.multiplying import multiply
from quantguard.kernels.triton.rounding import store_dequantized
from quantguard.numerics import QuantTensor
from quantguard.records import QuantArgs


def unsupported(weights: QuantArgs) -> str | None:
    """Give the reason why the kernel cannot take such weights, or None."""
    if weights.strategy != "channel":
        return "its int8_linear takes weights with one scale a channel."
    return None if weights.symmetric else "its int8_linear takes symmetric weights."


def pack(weight: QuantTensor) -> Buffers:
    """Lay the weight out as the cube reads it: int8 ``[in_features, out_features]``, float32 ``[out_features]``."""
    return {"data": weight.data.t().contiguous(), "scale": weight.scale.flatten().contiguous()}


def apply(
    x: torch.Tensor,
    x_scale: torch.Tensor,
    weight: Buffers,
    bias: torch.Tensor | None,
    *,
    args: QuantArgs,
    output_dtype: torch.dtype,
) -> torch.Tensor:
    """Multiply and dequantize as the contract says."""
    del args
    return multiply(
        multiply_int8,
        MULTIPLY_INT8,
        MULTIPLY_INT8.tiles,
        x=x,
        x_scale=x_scale,
        weight=weight,
        bias=bias,
        output_dtype=output_dtype,
    )


@kernel
def multiply_int8(
    p_x, p_w, p_x_scale, p_w_scale, p_bias, p_y, num_tokens, in_features, out_features,
    TOKENS: tl.constexpr, OUTPUTS: tl.constexpr, INPUTS: tl.constexpr, BIAS: tl.constexpr,
):  # fmt: skip
    """Multiply blocks of tokens by blocks of outputs."""
    num_columns = tl.cdiv(out_features, OUTPUTS)
    for i_block in range(tl.program_id(0), tl.cdiv(num_tokens, TOKENS) * num_columns, tl.num_programs(0)):
        o_tokens = i_block // num_columns * TOKENS + tl.arange(0, TOKENS)
        o_outputs = i_block % num_columns * OUTPUTS + tl.arange(0, OUTPUTS)
        b_sum = tl.zeros((TOKENS, OUTPUTS), dtype=tl.int32)
        for i_input in range(0, in_features, INPUTS):
            o_inputs = i_input + tl.arange(0, INPUTS)
            m_x = (o_tokens[:, None] < num_tokens) & (o_inputs[None, :] < in_features)
            m_w = (o_inputs[:, None] < in_features) & (o_outputs[None, :] < out_features)
            b_x = tl.load(p_x + o_tokens[:, None] * in_features + o_inputs[None, :], mask=m_x, other=0)
            b_w = tl.load(p_w + o_inputs[:, None] * out_features + o_outputs[None, :], mask=m_w, other=0)
            b_sum = tl.dot(b_x, b_w, b_sum, out_dtype=tl.int32)
        b_x_scale = tl.load(p_x_scale + o_tokens, mask=o_tokens < num_tokens, other=0.0)
        b_w_scale = tl.load(p_w_scale + o_outputs, mask=o_outputs < out_features, other=0.0)
        b_y = b_sum.to(tl.float32) * b_x_scale[:, None] * b_w_scale[None, :]
        store_dequantized(b_y, p_bias, p_y, o_tokens, o_outputs, num_tokens, out_features, BIAS)
