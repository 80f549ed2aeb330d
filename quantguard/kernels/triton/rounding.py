"""What the kernels share: rounding to integers as the reference does, in instructions that a vector core has."""

import triton
import triton.language as tl


@triton.jit
def round_half_even(b_x):
    """Round float32 below 2^22 in magnitude: adding 1.5 * 2^23 leaves no place for a fraction."""
    return (b_x + 12582912.0) - 12582912.0


@triton.jit
def to_int8(b_x):
    """Cast whole float32 to int8, saturating: one instruction from float16, while a wrapping cast transposes."""
    return tl.cast(b_x.to(tl.float16), tl.int8, overflow_mode="saturate")


@triton.jit
def has_nan(b_x):
    """Tell for each row whether a NaN is in it: the maximum of a vector core may drop it."""
    return tl.max(tl.where(b_x == b_x, 0.0, 1.0), axis=1) > 0.0  # noqa: PLR0124


@triton.jit
def largest_magnitude(b_x):
    """Return the largest magnitude of each row, NaN where there is one."""
    return tl.where(has_nan(b_x), float("nan"), tl.max(tl.abs(b_x), axis=1))


@triton.jit
def choose_scale(b_largest, maximum, clip_ratio):
    """Scale rows by their largest magnitude, at least 1e-30."""
    return tl.maximum(b_largest * clip_ratio / maximum, 1e-30, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def quantize_block(b_x, b_scale, maximum, CLAMP: tl.constexpr):
    """Quantize float32 ``[rows, columns]`` with a scale a row; CLAMP for integers that do not fill int8."""
    b_y = round_half_even(b_x / b_scale[:, None])
    if CLAMP:
        b_y = tl.maximum(b_y, -maximum - 1.0, propagate_nan=tl.PropagateNan.ALL)
        b_y = tl.minimum(b_y, maximum, propagate_nan=tl.PropagateNan.ALL)
    return to_int8(b_y)


@triton.jit
def store_dequantized(b_y, p_bias, p_y, o_tokens, o_outputs, num_tokens, out_features, BIAS: tl.constexpr):
    """Add the bias to float32 ``[tokens, outputs]``, round once to the type of ``p_y`` and store."""
    if BIAS:
        b_y = b_y + tl.load(p_bias + o_outputs, mask=o_outputs < out_features, other=0.0)[None, :]
    m_y = (o_tokens[:, None] < num_tokens) & (o_outputs[None, :] < out_features)
    tl.store(p_y + o_tokens[:, None] * out_features + o_outputs[None, :], b_y.to(p_y.dtype.element_ty), mask=m_y)
