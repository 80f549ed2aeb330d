"""Emulated quantization of activations, in float32, rounding half to even and saturating to the integers' range.

A row of zeros has scale 0 and integers 0. Where several groups are asked for it refuses.
"""

from collections.abc import Callable
from typing import Any

import torch

from quantguard.errors import KernelError
from quantguard.kernels.ascend.emulation.packing import pack_int32
from quantguard.kernels.ascend.emulation.refusing import refuse

_INT8 = (None, 1)  # what the schema's `int? dst_type` is for int8: absent, or torch's number of the type
_QINT8, _QUINT4X2 = 12, 16


def dynamic_quant(
    x: torch.Tensor,
    *,
    smooth_scales: torch.Tensor | None = None,
    group_index: torch.Tensor | None = None,
    dst_type: int | None = None,
    quant_mode: str = "pertoken",
    dst_type_max: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """``scale = max|x * smooth| / 127``, ``q = round(x * smooth / scale)``; 7 in the place of 127 for int4, packed."""
    values = _smoothed("npu_dynamic_quant", x, smooth_scales, group_index, dst_type, quant_mode, dst_type_max)
    q, scale = _quantize_rows(values, _largest(dst_type))
    return _stored(q, dst_type), scale


def dynamic_quant_asymmetric(
    x: torch.Tensor,
    *,
    smooth_scales: torch.Tensor | None = None,
    group_index: torch.Tensor | None = None,
    dst_type: int | None = None,
    quant_mode: str = "pertoken",
    dst_type_max: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """``scale = (max - min) / 255``, ``offset = 127 - max / scale``, ``q = round(x / scale + offset)``.

    For int4 it is 15 and 7 in the place of 255 and 127, and the integers are packed.
    """
    op = "npu_dynamic_quant_asymmetric"
    values = _smoothed(op, x, smooth_scales, group_index, dst_type, quant_mode, dst_type_max)
    high, low = values.amax(dim=-1, keepdim=True), values.amin(dim=-1, keepdim=True)
    largest = _largest(dst_type)
    scale = (high - low) / (2 * largest + 1)
    offset = largest - _divide(high, scale)
    q = torch.round(_divide(values, scale) + offset).clamp(-largest - 1, largest).to(torch.int8)
    return _stored(q, dst_type), scale.squeeze(-1), offset.squeeze(-1)


def quantize(
    x: torch.Tensor,
    scales: torch.Tensor,
    zero_points: torch.Tensor | None,
    dtype: int,
    axis: int = 1,
    div_mode: bool = True,  # noqa: FBT001, FBT002 - the vendor's schema has it so
) -> torch.Tensor:
    """``q = round(x / scales)`` to int8; ``axis`` says what more than one scale runs along."""
    if not div_mode or dtype != _QINT8 or axis not in (-1, x.ndim - 1):
        raise KernelError("npu_quantize is emulated with div_mode=True, dtype=torch.qint8 and scales of the last axis")
    refuse("npu_quantize", zero_points=zero_points)
    return _saturate(x.float() / scales.float())


def kronecker_quant(
    x: torch.Tensor,
    kronecker_p1: torch.Tensor,
    kronecker_p2: torch.Tensor,
    clip_ratio: float | None = None,
    dst_dtype: int | None = None,
    dst_type_max: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """``y = P1 x P2``; per leading slice ``scale = clip_ratio * max|y| / 7``, int4, eight to an int32."""
    refuse("npu_kronecker_quant", dst_type_max=dst_type_max)
    if dst_dtype not in (None, 3):
        raise KernelError("npu_kronecker_quant is emulated with dst_dtype=torch.int32")
    y = kronecker_p1.float() @ x.float() @ kronecker_p2.float()
    scale = y.abs().amax(dim=(1, 2)) * (1.0 if clip_ratio is None else clip_ratio) / 7
    q = torch.round(_divide(y, scale[:, None, None])).clamp(-8, 7).to(torch.int8)
    return pack_int32(q), scale


def rotate_quant(
    x: torch.Tensor,
    rotation: torch.Tensor,
    *,
    alpha: torch.Tensor | None = None,
    dst_dtype: int | None = None,
    axis: int | None = -1,
    round_mode: str | None = "rint",
    scale_alg: int | None = 0,
    dst_type_max: float | None = 0.0,
    transpose_y: bool | None = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotate each block of the last dimension by ``rotation``, then quantize per token; float32 in between."""
    refuse(
        "npu_rotate_quant", alpha=alpha, scale_alg=scale_alg, dst_type_max=dst_type_max, transpose_y=transpose_y or 0
    )
    if dst_dtype not in _INT8 or axis not in (-1, 1) or round_mode != "rint":
        raise KernelError("npu_rotate_quant is emulated with dst_dtype=torch.int8, axis=-1 and round_mode='rint'")
    return _quantize_rows((x.float().unflatten(-1, (-1, len(rotation))) @ rotation.float()).flatten(-2), 127)


def _smoothed(
    op: str,
    x: torch.Tensor,
    smooth_scales: torch.Tensor | None,
    group_index: torch.Tensor | None,
    dst_type: int | None,
    quant_mode: str,
    dst_type_max: float,
) -> torch.Tensor:
    refuse(op, group_index=group_index, dst_type_max=dst_type_max)
    if quant_mode != "pertoken" or dst_type not in (*_INT8, _QUINT4X2):
        raise KernelError(f"{op} is emulated with quant_mode='pertoken' and dst_type=torch.int8 or torch.quint4x2")
    return x.float() if smooth_scales is None else x.float() * smooth_scales.float()


def _quantize_rows(values: torch.Tensor, maximum: int) -> tuple[torch.Tensor, torch.Tensor]:
    scale = values.abs().amax(dim=-1, keepdim=True) / maximum
    return _saturate(_divide(values, scale)), scale.squeeze(-1)


def _largest(dst_type: int | None) -> int:
    return 7 if dst_type == _QUINT4X2 else 127


def _stored(q: torch.Tensor, dst_type: int | None) -> torch.Tensor:
    return pack_int32(q) if dst_type == _QUINT4X2 else q


def _divide(values: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return values / torch.where(scale == 0, 1.0, scale)


def _saturate(values: torch.Tensor) -> torch.Tensor:
    return torch.round(values).clamp(-128, 127).to(torch.int8)


KERNELS: dict[str, Callable[..., Any]] = {
    "npu_dynamic_quant": dynamic_quant,
    "npu_dynamic_quant_asymmetric": dynamic_quant_asymmetric,
    "npu_quantize": quantize,
    "npu_kronecker_quant": kronecker_quant,
    "npu_rotate_quant": rotate_quant,
}
