"""Keys and values to int8 and back on the vector cores, with a scale for each token and head."""

import torch
import triton
import triton.language as tl

from quantguard.errors import KernelError
from quantguard.kernels.kv_cache import Stored
from quantguard.kernels.triton import quantize_per_token
from quantguard.kernels.triton.forms import DEQUANTIZE_HEADS, QUANTIZE_HEADS, Constants
from quantguard.kernels.triton.launch import float_type, kernel, launch
from quantguard.kernels.triton.rounding import has_nan, round_half_even, to_int8
from quantguard.numerics import KVQuantizer
from quantguard.records import QuantArgs


def unsupported(args: QuantArgs) -> str | None:
    """Give the reason why the kernels cannot store so, or None."""
    if args.num_bits != 8:
        return f"its kv_cache stores 8 bits, not {args.num_bits}."
    return None if args.strategy == "token" else "its kv_cache takes a scale for each token and head."


def store(x: torch.Tensor, quantizer: KVQuantizer) -> Stored:
    """Quantize as the contract says; raises KernelError for settings that no kernel takes."""
    args = quantizer.args
    _check(args)
    rows = x.detach().reshape(-1, x.shape[-1]).contiguous()
    shape = (*x.shape[:-1], 1)
    if args.symmetric:
        data, scale = quantize_per_token.apply(rows, args=args)
        return {"data": data.view(x.shape), "scale": scale.view(shape)}
    tile = _choose_tile(rows.shape[1])
    stored = {
        "data": torch.empty(x.shape, dtype=torch.int8, device=x.device),
        "scale": torch.empty(shape, device=x.device),
        "zero_point": torch.empty(shape, dtype=torch.int8, device=x.device),
    }
    launch(
        quantize_heads,
        QUANTIZE_HEADS.form(float_type(x.dtype), tile),
        num_blocks=triton.cdiv(rows.shape[0], tile["ROWS"]),
        p_x=rows,
        p_q=stored["data"],
        p_scale=stored["scale"],
        p_zero=stored["zero_point"],
        num_rows=rows.shape[0],
        head_dim=rows.shape[1],
        clip_ratio=args.clip_ratio,
    )
    return stored


def restore(stored: Stored, quantizer: KVQuantizer, *, output_dtype: torch.dtype) -> torch.Tensor:
    """Dequantize as the contract says."""
    args = quantizer.args
    _check(args)
    data = stored["data"].contiguous()
    head_dim = data.shape[-1]
    tile = _choose_tile(head_dim)
    y = torch.empty(data.shape, dtype=output_dtype, device=data.device)
    num_rows = data.numel() // head_dim
    launch(
        dequantize_heads,
        DEQUANTIZE_HEADS.form(float_type(output_dtype), tile, ASYMMETRIC=int(not args.symmetric)),
        num_blocks=triton.cdiv(num_rows, tile["ROWS"]),
        p_q=data,
        p_scale=stored["scale"].contiguous(),
        p_zero=data if args.symmetric else stored["zero_point"].contiguous(),
        p_y=y,
        num_rows=num_rows,
        head_dim=head_dim,
    )
    return y


def _check(args: QuantArgs) -> None:
    reason = unsupported(args)
    if reason is not None:
        raise KernelError(f"the 'triton' backend: {reason} The 'reference' backend takes all settings.")


def _choose_tile(head_dim: int) -> Constants:
    for tile in QUANTIZE_HEADS.tiles:
        if head_dim <= tile["COLUMNS"]:
            return tile
    widest = QUANTIZE_HEADS.tiles[-1]["COLUMNS"]
    raise KernelError(f"the 'triton' backend's kv_cache takes heads of up to {widest} channels, not {head_dim}")


@kernel
def quantize_heads(
    p_x, p_q, p_scale, p_zero, num_rows, head_dim, clip_ratio, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    """Quantize blocks of rows between their extremes, 0 among them."""
    o_columns = tl.arange(0, COLUMNS)
    for i_block in range(tl.program_id(0), tl.cdiv(num_rows, ROWS), tl.num_programs(0)):
        o_rows = i_block * ROWS + tl.arange(0, ROWS)
        o_x = o_rows[:, None] * head_dim + o_columns[None, :]
        m_x = (o_rows[:, None] < num_rows) & (o_columns[None, :] < head_dim)
        b_x = tl.load(p_x + o_x, mask=m_x, other=0.0).to(tl.float32)
        b_low = tl.minimum(tl.min(b_x, axis=1), 0.0) * clip_ratio
        b_high = tl.maximum(tl.max(b_x, axis=1), 0.0) * clip_ratio
        b_scale = tl.maximum((b_high - b_low) / 255.0, 1e-30)
        b_scale = tl.where(has_nan(b_x), float("nan"), b_scale)
        b_zero = round_half_even(-128.0 - b_low / b_scale)
        b_zero = tl.minimum(tl.maximum(b_zero, -128.0), 127.0)
        b_q = to_int8(round_half_even(b_x / b_scale[:, None]) + b_zero[:, None])
        tl.store(p_q + o_x, b_q, mask=m_x)
        tl.store(p_scale + o_rows, b_scale, mask=o_rows < num_rows)
        tl.store(p_zero + o_rows, to_int8(b_zero), mask=o_rows < num_rows)


@kernel
def dequantize_heads(
    p_q, p_scale, p_zero, p_y, num_rows, head_dim,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, ASYMMETRIC: tl.constexpr,
):  # fmt: skip
    """Dequantize blocks of rows."""
    o_columns = tl.arange(0, COLUMNS)
    for i_block in range(tl.program_id(0), tl.cdiv(num_rows, ROWS), tl.num_programs(0)):
        o_rows = i_block * ROWS + tl.arange(0, ROWS)
        o_q = o_rows[:, None] * head_dim + o_columns[None, :]
        m_q = (o_rows[:, None] < num_rows) & (o_columns[None, :] < head_dim)
        b_y = tl.load(p_q + o_q, mask=m_q, other=0).to(tl.float32)
        if ASYMMETRIC:
            b_y = b_y - tl.load(p_zero + o_rows, mask=o_rows < num_rows, other=0).to(tl.float32)[:, None]
        b_y = b_y * tl.load(p_scale + o_rows, mask=o_rows < num_rows, other=0.0)[:, None]
        tl.store(p_y + o_q, b_y.to(p_y.dtype.element_ty), mask=m_q)
