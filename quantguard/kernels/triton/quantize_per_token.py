"""Per-token quantization on the vector cores: one pass over a row that fits the unified buffer, else two."""

import torch
import triton
import triton.language as tl

from quantguard.kernels.quantize_per_token import unsupported
from quantguard.kernels.triton.forms import QUANTIZE_ROWS, QUANTIZE_WIDE_ROWS, Form
from quantguard.kernels.triton.launch import float_type, kernel, launch
from quantguard.kernels.triton.rounding import choose_scale, largest_magnitude, quantize_block
from quantguard.records import QuantArgs

__all__ = ["apply", "unsupported"]


def apply(x: torch.Tensor, *, args: QuantArgs) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize as the contract says."""
    x = x.detach().contiguous()
    num_rows, num_columns = x.shape
    q = torch.empty(x.shape, dtype=torch.int8, device=x.device)
    scale = torch.empty(num_rows, 1, device=x.device)
    form = _choose_form(num_columns, float_type(x.dtype), clamp=int(args.num_bits < 8))
    launch(
        quantize_rows if form.kernel == QUANTIZE_ROWS.name else quantize_wide_rows,
        form,
        num_blocks=triton.cdiv(num_rows, form.constants["ROWS"]),
        p_x=x,
        p_q=q,
        p_scale=scale,
        num_rows=num_rows,
        num_columns=num_columns,
        maximum=float(args.maximum),
        clip_ratio=args.clip_ratio,
    )
    return q, scale


def _choose_form(num_columns: int, dtype: str, *, clamp: int) -> Form:
    for tile in QUANTIZE_ROWS.tiles:
        if num_columns <= tile["COLUMNS"]:
            return QUANTIZE_ROWS.form(dtype, tile, CLAMP=clamp)
    return QUANTIZE_WIDE_ROWS.form(dtype, QUANTIZE_WIDE_ROWS.tiles[0], CLAMP=clamp)


@kernel
def quantize_rows(
    p_x, p_q, p_scale, num_rows, num_columns, maximum, clip_ratio,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, CLAMP: tl.constexpr,
):  # fmt: skip
    """Quantize blocks of whole rows."""
    o_columns = tl.arange(0, COLUMNS)
    for i_block in range(tl.program_id(0), tl.cdiv(num_rows, ROWS), tl.num_programs(0)):
        o_rows = i_block * ROWS + tl.arange(0, ROWS)
        o_x = o_rows[:, None] * num_columns + o_columns[None, :]
        m_x = (o_rows[:, None] < num_rows) & (o_columns[None, :] < num_columns)
        b_x = tl.load(p_x + o_x, mask=m_x, other=0.0).to(tl.float32)
        b_scale = choose_scale(largest_magnitude(b_x), maximum, clip_ratio)
        tl.store(p_q + o_x, quantize_block(b_x, b_scale, maximum, CLAMP), mask=m_x)
        tl.store(p_scale + o_rows, b_scale, mask=o_rows < num_rows)


@kernel
def quantize_wide_rows(
    p_x, p_q, p_scale, num_rows, num_columns, maximum, clip_ratio,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, CLAMP: tl.constexpr,
):  # fmt: skip
    """Find the scales of a block of rows piece by piece, then quantize it piece by piece."""
    for i_block in range(tl.program_id(0), tl.cdiv(num_rows, ROWS), tl.num_programs(0)):
        o_rows = i_block * ROWS + tl.arange(0, ROWS)
        b_largest = tl.zeros((ROWS,), dtype=tl.float32)
        for i_piece in range(0, num_columns, COLUMNS):
            o_columns = i_piece + tl.arange(0, COLUMNS)
            o_x = o_rows[:, None] * num_columns + o_columns[None, :]
            m_x = (o_rows[:, None] < num_rows) & (o_columns[None, :] < num_columns)
            b_x = tl.load(p_x + o_x, mask=m_x, other=0.0).to(tl.float32)
            b_largest = tl.maximum(b_largest, largest_magnitude(b_x), propagate_nan=tl.PropagateNan.ALL)
        b_scale = choose_scale(b_largest, maximum, clip_ratio)
        tl.store(p_scale + o_rows, b_scale, mask=o_rows < num_rows)
        for i_piece in range(0, num_columns, COLUMNS):
            o_columns = i_piece + tl.arange(0, COLUMNS)
            o_x = o_rows[:, None] * num_columns + o_columns[None, :]
            m_x = (o_rows[:, None] < num_rows) & (o_columns[None, :] < num_columns)
            b_x = tl.load(p_x + o_x, mask=m_x, other=0.0).to(tl.float32)
            tl.store(p_q + o_x, quantize_block(b_x, b_scale, maximum, CLAMP), mask=m_x)
