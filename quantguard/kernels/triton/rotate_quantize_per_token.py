"""Rotate a token as a matrix on the cube cores and quantize it on the vector cores, a token a step."""

import torch
import triton.language as tl

from quantguard.errors import KernelError
from quantguard.kernels.triton.forms import ROTATE_QUANTIZE, Constants
from quantguard.kernels.triton.launch import float_type, kernel, launch
from quantguard.kernels.triton.rounding import choose_scale, quantize_block
from quantguard.records import QuantArgs, RotationArgs

# Sums of another order than the reference's: what is next to a tie may round to the other side.
LARGEST_STEP = 1
SHARE_OF_STEPS = 0.002


def unsupported(rotation: RotationArgs) -> str | None:
    """Give the reason why the kernel cannot do such a rotation, or None."""
    if rotation.right is None:
        return "its rotate_quantize_per_token takes a right factor."
    left, right = rotation.width // rotation.right, rotation.right
    if any(left <= tile["LEFT"] and right <= tile["RIGHT"] for tile in ROTATE_QUANTIZE.tiles):
        return None
    return f"its rotate_quantize_per_token takes no token as a matrix of {left} x {right}."


def apply(
    x: torch.Tensor, left: torch.Tensor | None, right: torch.Tensor, *, args: QuantArgs
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotate and quantize as the contract says; raises KernelError for float32 and for factors too large."""
    if x.dtype == torch.float32:
        raise KernelError("the 'triton' backend's rotate_quantize_per_token takes bfloat16 and float16, not float32")
    x = x.detach().contiguous()
    right = right.to(x.dtype).contiguous()
    num_rows, right_size = x.shape[0], right.shape[0]
    left_size = x.shape[1] // right_size
    q = torch.empty(x.shape, dtype=torch.int8, device=x.device)
    scale = torch.empty(num_rows, 1, device=x.device)
    switches = {"KRONECKER": int(left is not None), "CLAMP": int(args.num_bits < 8)}
    launch(
        rotate_quantize_rows,
        ROTATE_QUANTIZE.form(float_type(x.dtype), _choose_tile(left_size, right_size), **switches),
        num_blocks=num_rows,
        p_x=x,
        p_left=right if left is None else left.t().to(x.dtype).contiguous(),
        p_right=right,
        p_q=q,
        p_scale=scale,
        num_rows=num_rows,
        left_size=left_size,
        right_size=right_size,
        maximum=float(args.maximum),
        clip_ratio=args.clip_ratio,
    )
    return q, scale


def _choose_tile(left_size: int, right_size: int) -> Constants:
    for tile in ROTATE_QUANTIZE.tiles:
        if left_size <= tile["LEFT"] and right_size <= tile["RIGHT"]:
            return tile
    largest = ROTATE_QUANTIZE.tiles[-1]
    raise KernelError(
        f"the 'triton' backend's rotate_quantize_per_token takes a token as a matrix of up to {largest['LEFT']} x"
        f" {largest['RIGHT']}, which is what fits the unified buffer, not {left_size} x {right_size}"
    )


@kernel
def rotate_quantize_rows(
    p_x, p_left, p_right, p_q, p_scale, num_rows, left_size, right_size, maximum, clip_ratio,
    LEFT: tl.constexpr, RIGHT: tl.constexpr, KRONECKER: tl.constexpr, CLAMP: tl.constexpr,
):  # fmt: skip
    """Compute ``Aᵀ X B`` of each token X and quantize it; the half-way product keeps its low bits in a second one."""
    o_left = tl.arange(0, LEFT)
    o_right = tl.arange(0, RIGHT)
    m_right = (o_right[:, None] < right_size) & (o_right[None, :] < right_size)
    b_right = tl.load(p_right + o_right[:, None] * right_size + o_right[None, :], mask=m_right, other=0.0)
    o_x = o_left[:, None] * right_size + o_right[None, :]
    m_x = (o_left[:, None] < left_size) & (o_right[None, :] < right_size)
    for i_row in range(tl.program_id(0), num_rows, tl.num_programs(0)):
        b_x = tl.load(p_x + i_row * left_size * right_size + o_x, mask=m_x, other=0.0)
        b_y = tl.dot(b_x, b_right)
        if KRONECKER:
            m_left = (o_left[:, None] < left_size) & (o_left[None, :] < left_size)
            b_left = tl.load(p_left + o_left[:, None] * left_size + o_left[None, :], mask=m_left, other=0.0)
            b_high = b_y.to(p_x.dtype.element_ty)
            b_low = (b_y - b_high.to(tl.float32)).to(p_x.dtype.element_ty)
            b_y = tl.dot(b_left, b_low)
            b_y = tl.dot(b_left, b_high, b_y)
        b_invalid = tl.max(tl.where(b_y == b_y, 0.0, 1.0), axis=1)  # noqa: PLR0124
        b_largest = tl.max(tl.max(tl.abs(b_y), axis=1)[None, :], axis=1)
        b_largest = tl.where(tl.max(b_invalid[None, :], axis=1) > 0.0, float("nan"), b_largest)
        b_scale = choose_scale(b_largest, maximum, clip_ratio)
        tl.store(p_q + i_row * left_size * right_size + o_x, quantize_block(b_y, b_scale, maximum, CLAMP), mask=m_x)
        tl.store(p_scale + i_row + tl.arange(0, 1), b_scale)
