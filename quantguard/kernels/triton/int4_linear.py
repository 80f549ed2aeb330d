"""W4A8: nibbles become int8 on the vector cores and multiply on the cube cores, with one scale a channel or a group.

A packed block of ``2 * HALF`` inputs takes ``HALF`` rows of bytes: its first half is in their low nibbles, its second
in the high ones. So unpacking is two shifts and two products, and no interleaving, which would not fit the
unified buffer.
"""

import torch
import triton
import triton.language as tl

from quantguard.kernels import int4_linear as reference
from quantguard.kernels.int8_linear import Buffers
from quantguard.kernels.triton.forms import MULTIPLY_INT4, MULTIPLY_INT4_GROUPS
from quantguard.kernels.triton.launch import kernel
from quantguard.kernels.triton.multiplying import multiply
from quantguard.kernels.triton.rounding import store_dequantized
from quantguard.numerics import QuantTensor
from quantguard.records import QuantArgs

_LARGEST_HALF = 64


def unsupported(weights: QuantArgs) -> str | None:
    """Give the reason why the kernel cannot take such weights, or None."""
    if not weights.symmetric:
        return "its int4_linear takes symmetric weights."
    if weights.strategy not in ("channel", "group"):
        return "its int4_linear takes weights with one scale a channel or group."
    if (weights.group_size or 128) % 32:
        return f"its int4_linear takes groups of a multiple of 32 inputs, not of {weights.group_size}."
    return reference.unsupported(weights)


def pack(weight: QuantTensor) -> Buffers:
    """Pack to int8 ``[padded in_features / 2, out_features]``; float32 scales ``[num_groups, out_features]``."""
    half = _half(weight.args)
    data = torch.nn.functional.pad(weight.data, (0, -weight.data.shape[1] % (weight.args.group_size or 2 * half)))
    blocks = data.t().reshape(-1, 2, half, data.shape[0])
    packed = (blocks[:, 0] & 0xF) | (blocks[:, 1] << 4)
    return {"data": packed.flatten(0, 1).contiguous(), "scale": weight.scale.t().contiguous()}


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
    table, function = (
        (MULTIPLY_INT4_GROUPS, multiply_int4_groups) if args.group_size else (MULTIPLY_INT4, multiply_int4)
    )
    return multiply(
        function,
        table,
        tuple(tile for tile in table.tiles if tile["HALF"] == _half(args)),
        x=x,
        x_scale=x_scale,
        weight=weight,
        bias=bias,
        output_dtype=output_dtype,
        **({"group_size": args.group_size} if args.group_size else {}),
    )


def _half(args: QuantArgs) -> int:
    """Return how many inputs share a nibble's place: a packed block never reaches over the end of a group."""
    half = _LARGEST_HALF
    while (args.group_size or 2 * half) % (2 * half):
        half //= 2
    return half


@kernel
def multiply_int4(
    p_x, p_w, p_x_scale, p_w_scale, p_bias, p_y, num_tokens, in_features, out_features,
    TOKENS: tl.constexpr, OUTPUTS: tl.constexpr, HALF: tl.constexpr, BIAS: tl.constexpr,
):  # fmt: skip
    """Multiply blocks of tokens by blocks of outputs with one scale a channel."""
    num_columns = tl.cdiv(out_features, OUTPUTS)
    for i_block in range(tl.program_id(0), tl.cdiv(num_tokens, TOKENS) * num_columns, tl.num_programs(0)):
        o_tokens = i_block // num_columns * TOKENS + tl.arange(0, TOKENS)
        o_outputs = i_block % num_columns * OUTPUTS + tl.arange(0, OUTPUTS)
        b_sum = tl.zeros((TOKENS, OUTPUTS), dtype=tl.int32)
        for i_input in range(0, in_features, 2 * HALF):
            b_sum = multiply_block(
                p_x, p_w, b_sum, i_input, o_tokens, o_outputs, num_tokens, in_features, out_features, HALF
            )
        b_x_scale = tl.load(p_x_scale + o_tokens, mask=o_tokens < num_tokens, other=0.0)
        b_w_scale = tl.load(p_w_scale + o_outputs, mask=o_outputs < out_features, other=0.0)
        b_y = b_sum.to(tl.float32) * b_x_scale[:, None] * b_w_scale[None, :]
        store_dequantized(b_y, p_bias, p_y, o_tokens, o_outputs, num_tokens, out_features, BIAS)


@kernel
def multiply_int4_groups(
    p_x, p_w, p_x_scale, p_w_scale, p_bias, p_y, num_tokens, in_features, out_features, group_size,
    TOKENS: tl.constexpr, OUTPUTS: tl.constexpr, HALF: tl.constexpr, BIAS: tl.constexpr,
):  # fmt: skip
    """Multiply blocks of tokens by blocks of outputs, and scale the sum of each group before it is added."""
    num_columns = tl.cdiv(out_features, OUTPUTS)
    for i_block in range(tl.program_id(0), tl.cdiv(num_tokens, TOKENS) * num_columns, tl.num_programs(0)):
        o_tokens = i_block // num_columns * TOKENS + tl.arange(0, TOKENS)
        o_outputs = i_block % num_columns * OUTPUTS + tl.arange(0, OUTPUTS)
        b_x_scale = tl.load(p_x_scale + o_tokens, mask=o_tokens < num_tokens, other=0.0)
        b_y = tl.zeros((TOKENS, OUTPUTS), dtype=tl.float32)
        for i_group in range(tl.cdiv(in_features, group_size)):
            b_sum = tl.zeros((TOKENS, OUTPUTS), dtype=tl.int32)
            for i_input in range(i_group * group_size, (i_group + 1) * group_size, 2 * HALF):
                b_sum = multiply_block(
                    p_x, p_w, b_sum, i_input, o_tokens, o_outputs, num_tokens, in_features, out_features, HALF
                )
            o_scale = i_group * out_features + o_outputs
            b_w_scale = tl.load(p_w_scale + o_scale, mask=o_outputs < out_features, other=0.0)
            b_y += b_sum.to(tl.float32) * b_x_scale[:, None] * b_w_scale[None, :]
        store_dequantized(b_y, p_bias, p_y, o_tokens, o_outputs, num_tokens, out_features, BIAS)


@triton.jit
def multiply_block(
    p_x, p_w, b_sum, i_input, o_tokens, o_outputs, num_tokens, in_features, out_features, HALF: tl.constexpr
):
    """Add the products of a packed block; shifts are in int16, the narrowest integers that vector cores shift."""
    o_low = i_input + tl.arange(0, HALF)
    o_high = o_low + HALF
    o_packed = i_input // 2 + tl.arange(0, HALF)
    p_row = p_x + o_tokens[:, None] * in_features
    m_token = o_tokens[:, None] < num_tokens
    b_low = tl.load(p_row + o_low[None, :], mask=m_token & (o_low[None, :] < in_features), other=0)
    b_high = tl.load(p_row + o_high[None, :], mask=m_token & (o_high[None, :] < in_features), other=0)
    o_w = o_packed[:, None] * out_features + o_outputs[None, :]
    b_packed = tl.load(p_w + o_w, mask=o_outputs[None, :] < out_features, other=0).to(tl.int16)
    b_w_low = tl.cast((b_packed << 12) >> 12, tl.int8, overflow_mode="saturate")
    b_w_high = tl.cast(b_packed >> 4, tl.int8, overflow_mode="saturate")
    b_sum = tl.dot(b_low, b_w_low, b_sum, out_dtype=tl.int32)
    return tl.dot(b_high, b_w_high, b_sum, out_dtype=tl.int32)
