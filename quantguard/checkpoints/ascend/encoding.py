"""A block of ours to AscendV1: the integers as they are, scales in the type that vLLM-Ascend keeps them in.

Its loader holds the scales of weights and inputs in the type of the model, so that is what they are rounded to here,
before ``deq_scale`` and ``quant_bias`` are made of them. The integers stay those that the recipe's rounding chose for
the unrounded scale: a weight changes by 2^-9 of itself at most in bfloat16, which shows when the exported folder is
evaluated.
"""

import dataclasses

import torch

from quantguard.checkpoints.ascend.decoding import scale_bias
from quantguard.checkpoints.ascend.schemes import (
    CACHE,
    FLATQUANT,
    FLOAT,
    PACKED,
    SCALED_IN_MODEL_TYPE,
    STATIC,
)
from quantguard.checkpoints.ascend.support import BlockPlan
from quantguard.errors import ModelError
from quantguard.modeling import Block
from quantguard.modeling.block import LinearGroup
from quantguard.modeling.block_state import BlockState, Tensors
from quantguard.numerics import unpack_int4
from quantguard.numerics.affine import SMALLEST_SCALE
from quantguard.numerics.kronecker import kronecker_multiply

_SIDES = ("left", "right")


@dataclasses.dataclass(slots=True, kw_only=True)
class BlockEncoder:
    """One block on its way out, nothing of which is refused; ``types`` gets the type of every tensor."""

    block: Block
    state: BlockState
    tensors: Tensors
    dtype: torch.dtype
    types: dict[str, str] = dataclasses.field(default_factory=dict)

    def encode(self) -> Tensors:
        """Return the tensors to store; raise ModelError for numbers that leave their type."""
        shapes = {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}
        plan = BlockPlan(block=self.block, state=self.state, shapes=shapes)
        left, written = dict(self.tensors), Tensors()
        for group in self.block.groups.values():
            written |= self._group(plan, group, left)
        written |= self._cache(left)
        written |= left
        self.types |= dict.fromkeys(left, FLOAT)
        return {name: tensor.contiguous() for name, tensor in written.items()}

    def _group(self, plan: BlockPlan, group: LinearGroup, left: Tensors) -> Tensors:
        kinds = plan.kinds(group)
        factors = self._factors(plan, group, left)
        if kinds[0] is None:
            return self._folded(group, factors, left) if any(factor is not None for factor in factors) else {}
        written: Tensors = {}
        for name, clip in plan.clips(group).items():
            parts = self._linear(name, kinds[0], left)
            if kinds[0] == FLATQUANT:
                parts |= self._flatquant(factors, clip)
            written |= {f"{name}.{part}": tensor for part, tensor in parts.items()}
            self.types |= {f"{name}.{part}": FLOAT if part == "bias" else kinds[0] for part in parts}
        return written

    def _folded(
        self, group: LinearGroup, factors: tuple[torch.Tensor | None, torch.Tensor | None], left: Tensors
    ) -> Tensors:
        """Put the transform of the input of float linears into their weights, where nothing is lost by it."""
        duals = [None if factor is None else factor.t() for factor in factors]
        written = {}
        for name in group.names:
            weight = left.pop(f"{name}.weight")
            written[f"{name}.weight"] = kronecker_multiply(weight.double(), *duals).to(weight.dtype)
        self.types |= dict.fromkeys(written, FLOAT)
        return written

    def _factors(
        self, plan: BlockPlan, group: LinearGroup, left: Tensors
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Take the online transform of a group's input out of what is left, and give its norm the plain name."""
        if group.norm_name is not None:
            norm = f"{self.block.name}.{group.norm_name}"
            if f"{norm}.norm.weight" in left:
                left[f"{norm}.weight"] = left.pop(f"{norm}.norm.weight")
        left_factor, right_factor = (left.pop(name, None) for name in plan.factor_names(group))
        return left_factor, right_factor

    def _linear(self, name: str, kind: str, left: Tensors) -> Tensors:
        width = self.block.linears[name].in_features
        data, scale = left.pop(f"{name}.weight_data"), left.pop(f"{name}.weight_scale")
        if data.dtype == torch.uint8:
            data = unpack_int4(data, width)
        scale = _scale_of_zeros(data, scale)
        bias = left.pop(f"{name}.bias", None)
        parts = {} if bias is None else {"bias": bias.float()}
        if kind in SCALED_IN_MODEL_TYPE:
            scale = rounded_to(self.dtype, f"{name}.weight_scale", scale)
        if kind == STATIC:
            parts |= self._static(name, scale, left.pop(f"{name}.input_scale"), bias)
        if kind == PACKED:
            parts["scale_bias"] = scale_bias(name, data, scale)
        parts["weight"] = pack_rows(data) if kind == PACKED else data
        return parts | {"weight_scale": scale, "weight_offset": torch.zeros_like(scale)}

    def _static(self, name: str, scale: torch.Tensor, input_scale: torch.Tensor, bias: torch.Tensor | None) -> Tensors:
        rounded = rounded_to(self.dtype, f"{name}.input_scale", input_scale.flatten())
        deq_scale = (scale * rounded).flatten()
        steps = torch.zeros_like(deq_scale).double() if bias is None else bias.double() / deq_scale.double()
        steps = steps.round()
        if bool((steps.abs() >= 2**31).any()):
            raise ModelError(f"{name}.quant_bias: a bias is more than an int32 in steps of its channel's scale")
        return {
            "input_scale": rounded,
            "input_offset": torch.zeros_like(rounded),
            "deq_scale": deq_scale if self.dtype == torch.bfloat16 else float_bits(deq_scale),
            "quant_bias": steps.to(torch.int32),
        }

    def _flatquant(self, factors: tuple[torch.Tensor | None, torch.Tensor | None], clip: float) -> Tensors:
        parts = {"clip_ratio": torch.tensor([clip], dtype=torch.float32)}
        for side, factor in zip(_SIDES, factors, strict=True):
            if factor is not None:
                parts[f"{side}_trans"] = factor.to(self.dtype).float()
        return parts

    def _cache(self, left: Tensors) -> Tensors:
        args, block = self.state.kv_cache, self.block
        if args is None:
            return {}
        written = {}
        for which, linear in (("keys", block.linear_name("k")), ("values", block.linear_name("v"))):
            scale = left.pop(f"{block.attention.name}.extension.{which}.scale").flatten()
            name = f"{linear}.kv_cache_scale"
            written[name] = rounded_to(self.dtype, name, scale).to(self.dtype)
            written[f"{linear}.kv_cache_offset"] = torch.zeros_like(written[name])
        self.types |= dict.fromkeys(written, CACHE)
        return written


def rounded_to(dtype: torch.dtype, name: str, scale: torch.Tensor) -> torch.Tensor:
    """Round scales to the type of the model, as float32; raise ModelError for one that it does not hold."""
    rounded = scale.to(dtype).float()
    if not bool((torch.isfinite(rounded) & (rounded > 0)).all()):
        kind = str(dtype).removeprefix("torch.")
        raise ModelError(f"{name}: a scale of {float(scale.min()):.1e} to {float(scale.max()):.1e} leaves {kind}")
    return rounded


def _scale_of_zeros(data: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Give channels of zeros, whose scale is nearly 0, the largest one: zeros they stay."""
    zeros = (scale <= SMALLEST_SCALE) & (data == 0).all(dim=1, keepdim=True)
    if not bool(zeros.any()):
        return scale
    largest = scale.max() if bool((scale > SMALLEST_SCALE).any()) else torch.ones(())
    return torch.where(zeros, largest, scale)


def pack_rows(data: torch.Tensor) -> torch.Tensor:
    """Pack int8 ``[out, in]``, -8..7, to ``[out / 2, in]``: an even row in the low, an odd one in the high nibble."""
    return (data[0::2] & 0xF) | (data[1::2] << 4)


def float_bits(values: torch.Tensor) -> torch.Tensor:
    """Return the bits of float32 as int64 of the same shape."""
    return values.view(torch.int32).to(torch.int64)
