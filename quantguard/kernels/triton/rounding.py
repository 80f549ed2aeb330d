"""What the kernels share: rounding to integers as the reference does, in instructions that a vector core has."""

import triton
import triton.language as tl


@triton.jit
def round_half_even(b_x):
    """Round float32 below 2^22 in magnitude: adding 1.5 * 2^23 leaves no place for a fraction."""
    return (b_x + 12582912.0) - 12582912.0


@triton.jit
def to_int8(b_x):
    """Cast whole float32 to int8, saturating: one instruction from float16, where a wrapping cast takes 2-D transposes."""
    return tl.cast(b_x.to(tl.float16), tl.int8, overflow_mode="saturate")


@triton.jit
def largest_magnitude(b_x):
    """Return the largest magnitude of each row, NaN where there is one: the maximum of a vector core may drop it."""
    b_largest = tl.max(tl.abs(b_x), axis=1)
    b_invalid = tl.max(tl.where(b_x == b_x, 0.0, 1.0), axis=1)  # noqa: PLR0124
    return tl.where(b_invalid > 0.0, float("nan"), b_largest)


@triton.jit
def quantize_block(b_x, b_scale, maximum, CLAMP: tl.constexpr):
    """Quantize float32 ``[rows, columns]`` with a scale a row; CLAMP for integers that do not fill int8."""
    b_y = round_half_even(b_x / b_scale[:, None])
    if CLAMP:
        b_y = tl.maximum(b_y, -maximum - 1.0, propagate_nan=tl.PropagateNan.ALL)
        b_y = tl.minimum(b_y, maximum, propagate_nan=tl.PropagateNan.ALL)
    return to_int8(b_y)
