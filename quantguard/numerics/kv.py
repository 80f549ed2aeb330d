"""Quantization of keys and values: per token and head as they come, or per head and channel with calibrated scales."""

import dataclasses

import torch

from quantguard.errors import RecipeError
from quantguard.numerics.affine import choose_scale, quantize_columns
from quantguard.numerics.int4 import pack_int4, unpack_int4
from quantguard.records import QuantArgs


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KVQuantizer:
    """Turn keys or values, float ``[batch, heads, tokens, head_dim]``, into stored integers and back.

    With strategy ``token`` every (token, head) has a scale, and a zero point where asymmetric. With ``channel`` they
    are fixed: ``scale`` float32 and ``zero_point`` int32 ``[heads, 1, head_dim]``.
    """

    args: QuantArgs
    scale: torch.Tensor | None = None
    zero_point: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if (self.args.strategy == "channel") != (self.scale is not None):
            raise RecipeError(f"KV cache with strategy {self.args.strategy!r}: fixed scales belong to 'channel' alone")

    def store(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Quantize; 4-bit integers and below are packed two to a byte. Every tensor has tokens as its last but one."""
        data, scale, zero_point = self._quantize(x)
        stored = {"data": _pack(data) if self._packs else data}
        if self.args.strategy == "token":
            stored["scale"] = scale.to(torch.float32)
            if zero_point is not None:
                stored["zero_point"] = zero_point.to(torch.int8)
        return stored

    def restore(self, stored: dict[str, torch.Tensor]) -> torch.Tensor:
        """Dequantize to float32 ``[batch, heads, tokens, head_dim]``."""
        data = _unpack(stored["data"]) if self._packs else stored["data"]
        scale = stored.get("scale", self.scale)
        zero_point = stored.get("zero_point", self.zero_point)
        assert scale is not None
        # In place: a cache is restored for every token that is written, and memory is what that waits for.
        values = data.float()
        if zero_point is not None:
            values -= zero_point
        values *= scale
        return values

    def round_trip(self, x: torch.Tensor) -> torch.Tensor:
        """Quantize and dequantize, in the type of ``x``."""
        return self.restore(self.store(x)).to(x.dtype)

    @property
    def _packs(self) -> bool:
        return self.args.num_bits <= 4

    def _quantize(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        if self.scale is not None:
            return quantize_columns(x, self.scale, self.zero_point, self.args), self.scale, self.zero_point
        rows = x.reshape(-1, x.shape[-1])
        scale, zero_point = choose_scale(rows, self.args)
        data = quantize_columns(rows, scale, zero_point, self.args).view(x.shape)
        shape = (*x.shape[:-1], 1)
        return data, scale.view(shape), None if zero_point is None else zero_point.view(shape)


def static_kv_quantizer(x: torch.Tensor, args: QuantArgs) -> KVQuantizer:
    """Fix the scales of strategy ``channel`` on calibration tokens, float ``[batch, heads, tokens, head_dim]``."""
    channels = x.permute(1, 3, 0, 2).flatten(2)
    heads, head_dim, _ = channels.shape
    scale, zero_point = choose_scale(channels.flatten(0, 1), args)
    shape = (heads, 1, head_dim)
    return KVQuantizer(
        args=args, scale=scale.view(shape), zero_point=None if zero_point is None else zero_point.view(shape)
    )


def _pack(data: torch.Tensor) -> torch.Tensor:
    if data.shape[-1] % 2:
        raise RecipeError(f"a 4-bit KV cache stores two channels a byte; a head of {data.shape[-1]} channels is odd")
    return pack_int4(data.reshape(-1, data.shape[-1])).view(*data.shape[:-1], -1)


def _unpack(packed: torch.Tensor) -> torch.Tensor:
    columns = 2 * packed.shape[-1]
    return unpack_int4(packed.reshape(-1, packed.shape[-1]), columns).reshape(*packed.shape[:-1], columns)
