"""Affine quantization: ``q = clamp(round(x / scale) + zero_point)``, rounding half to even, all in float32.

Symmetric: ``scale = max|x| / (2^(b-1) - 1)`` and integers from ``-2^(b-1)`` to ``2^(b-1) - 1``.
Asymmetric: the range is widened to hold 0, ``scale = (max - min) / (2^b - 1)`` and
``zero_point = round(-2^(b-1) - min / scale)``.
"""

import dataclasses
from collections.abc import Callable, Sequence

import torch

from quantguard.errors import RecipeError
from quantguard.records import QuantArgs

# A scale below this would overflow its reciprocal in float32; a row of zeros gets it and stays zero.
SMALLEST_SCALE = 1e-30


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class QuantTensor:
    """A quantized weight.

    data: int8, shape ``[out_features, in_features]``, values within the range of ``args.num_bits``.
    scale: float32, shape ``[out_features, num_groups]``; one group where the strategy is ``channel``.
    zero_point: int32, the shape of ``scale``, or absent where ``args.symmetric``.
    """

    data: torch.Tensor
    scale: torch.Tensor
    zero_point: torch.Tensor | None
    args: QuantArgs

    def __post_init__(self) -> None:
        groups = len(group_slices(self.data.shape[1], self.args))
        expected = (self.data.shape[0], groups)
        if self.data.dtype != torch.int8 or self.scale.dtype != torch.float32:
            raise RecipeError(
                f"a QuantTensor holds int8 data and float32 scales, not {self.data.dtype}, {self.scale.dtype}"
            )
        if tuple(self.scale.shape) != expected:
            raise RecipeError(f"scale has shape {tuple(self.scale.shape)}; data and args ask for {expected}")
        if (self.zero_point is None) != self.args.symmetric:
            raise RecipeError("a zero point belongs to asymmetric quantization, and only to it")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FakeQuantTensor:
    """A weight that was quantized to codes which no kernel runs on: float32 ``[out_features, in_features]``.

    ``args.type`` names the code book, ``args.num_bits`` what a weight takes in it.
    """

    weight: torch.Tensor
    args: QuantArgs


def group_slices(in_features: int, args: QuantArgs) -> list[slice]:
    """Return the columns of each scale group; where ``group_size`` does not divide, the last group is shorter."""
    size = args.group_size or in_features
    return [slice(start, min(start + size, in_features)) for start in range(0, in_features, size)]


def choose_scale(values: torch.Tensor, args: QuantArgs) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Choose scale and zero point from the extremes of each row.

    values: float, shape ``[rows, columns]``.
    Returns float32 scale ``[rows, 1]`` and int32 zero point ``[rows, 1]``, absent when symmetric.
    """
    values = values.float()
    if args.symmetric:
        extreme = values.abs().amax(dim=1, keepdim=True) * args.clip_ratio
        return (extreme / args.maximum).clamp_min(SMALLEST_SCALE), None
    low = values.amin(dim=1, keepdim=True).clamp_max(0.0) * args.clip_ratio
    high = values.amax(dim=1, keepdim=True).clamp_min(0.0) * args.clip_ratio
    scale = ((high - low) / (args.maximum - args.minimum)).clamp_min(SMALLEST_SCALE)
    zero_point = torch.round(args.minimum - low / scale).clamp(args.minimum, args.maximum)
    return scale, zero_point.to(torch.int32)


def quantize_columns(
    values: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor | None, args: QuantArgs
) -> torch.Tensor:
    """Round ``values``, float ``[rows, columns]``, to int8 of the same shape with scales ``[rows, 1]``."""
    rounded = torch.round(values.float() / scale)
    if zero_point is not None:
        rounded += zero_point
    return rounded.clamp_(args.minimum, args.maximum).to(torch.int8)


def round_to_nearest(
    weight: torch.Tensor, args: QuantArgs, scale: torch.Tensor, zero_point: torch.Tensor | None
) -> QuantTensor:
    """Round a weight, float ``[out_features, in_features]``, with scales ``[out_features, num_groups]``."""
    pieces = []
    for group, columns in enumerate(group_slices(weight.shape[1], args)):
        zeros = None if zero_point is None else zero_point[:, group : group + 1]
        pieces.append(quantize_columns(weight[:, columns], scale[:, group : group + 1], zeros, args))
    return QuantTensor(data=torch.cat(pieces, dim=1), scale=scale, zero_point=zero_point, args=args)


def choose_group_scales(
    weight: torch.Tensor,
    args: QuantArgs,
    choose: Callable[[torch.Tensor, slice], tuple[torch.Tensor, torch.Tensor | None]] | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Choose scale and zero point ``[out_features, num_groups]`` of a weight, group by group.

    ``choose`` takes the weights of a group and its columns; absent, :func:`choose_scale` covers the extremes.
    """
    chosen = [
        choose(weight[:, columns], columns) if choose else choose_scale(weight[:, columns], args)
        for columns in group_slices(weight.shape[1], args)
    ]
    scale = torch.cat([scale for scale, _ in chosen], dim=1)
    return scale, None if args.symmetric else torch.cat([z for _, z in chosen if z is not None], dim=1)


def dequantize(tensor: QuantTensor | FakeQuantTensor) -> torch.Tensor:
    """Return the float32 weight ``[out_features, in_features]`` that a quantized one stands for."""
    if isinstance(tensor, FakeQuantTensor):
        return tensor.weight
    rows, columns = tensor.data.shape
    size = tensor.args.group_size or columns
    values = torch.nn.functional.pad(tensor.data, (0, -columns % size)).view(rows, -1, size).float()
    if tensor.zero_point is not None:
        values -= tensor.zero_point[:, :, None]
    return (values * tensor.scale[:, :, None]).view(rows, -1)[:, :columns]


def split_rows(tensor: QuantTensor | FakeQuantTensor, sizes: Sequence[int]) -> list[QuantTensor | FakeQuantTensor]:
    """Take a quantized weight apart into consecutive rows."""
    if isinstance(tensor, FakeQuantTensor):
        return [FakeQuantTensor(weight=rows, args=tensor.args) for rows in tensor.weight.split(list(sizes))]
    zeros = [None] * len(sizes) if tensor.zero_point is None else tensor.zero_point.split(list(sizes))
    pieces = zip(tensor.data.split(list(sizes)), tensor.scale.split(list(sizes)), zeros, strict=True)
    return [QuantTensor(data=data, scale=scale, zero_point=zero, args=tensor.args) for data, scale, zero in pieces]


def quantize_tokens(x: torch.Tensor, args: QuantArgs) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize activations symmetrically, one scale a token.

    x: float, shape ``[num_tokens, in_features]``.
    Returns int8 of the same shape and float32 scale ``[num_tokens, 1]``.
    """
    scale, _ = choose_scale(x, args)
    return quantize_columns(x, scale, None, args), scale
