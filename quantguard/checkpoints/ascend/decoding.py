"""AscendV1 tensors of a block to ours: integers and scales as the loader of vLLM-Ascend keeps them."""

import dataclasses
import pathlib

import torch

from quantguard.checkpoints.ascend.description import Description
from quantguard.checkpoints.ascend.schemes import (
    FLATQUANT,
    FLOAT,
    KV_CACHE,
    NUM_SPLITS,
    OUTPUT_INPUT,
    PACKED,
    SCALED_IN_MODEL_TYPE,
    STATIC,
    TYPES,
)
from quantguard.errors import ModelError
from quantguard.modeling import Block
from quantguard.modeling.block import LinearGroup
from quantguard.modeling.block_state import BlockState, Tensors
from quantguard.numerics import pack_int4
from quantguard.records import LayerArgs, LayerReport, QuantArgs

# deq_scale is a product in the type of the model, of scales in that type: three roundings of at most 2^-8 each.
_DEQ_TOLERANCE = 2**-6
# What msModelSlim's older writer sums up comes near to the sum of the dequantized weights, not closer.
_SCALE_BIAS_TOLERANCE = 2**-4


@dataclasses.dataclass(slots=True, kw_only=True)
class BlockDecoder:
    """One block on its way into our names; ``notes`` collects what a server would do otherwise than the file says."""

    path: pathlib.Path
    files: dict[str, str]
    description: Description
    dtype: torch.dtype
    block: Block
    stored: Tensors
    notes: list[str]

    def decode(self) -> tuple[BlockState, Tensors]:
        """Return settings and tensors as :func:`quantguard.modeling.block_state.restore_block` takes them."""
        linears: dict[str, LayerArgs] = {}
        tensors = dict(self.stored)
        for group in self.block.groups.values():
            for name, linear in zip(group.names, group.linears, strict=True):
                kind = self.description.type_of(name) or FLOAT
                if kind != FLOAT:
                    linears[name] = self._linear(name, kind, tensors, has_bias=linear.bias is not None)
            if self.description.type_of(group.names[0]) == FLATQUANT:
                self._transform(group, tensors)
            self._compare_inputs(group)
            self._compare_clips(group, linears)
        kv_cache = self._cache(tensors)
        return BlockState(linears=linears, kv_cache=kv_cache, report=LayerReport(name=self.block.name)), tensors

    def _linear(self, name: str, kind: str, tensors: Tensors, *, has_bias: bool) -> LayerArgs:
        parts = {n.rpartition(".")[2]: t for n, t in self.stored.items() if n.rpartition(".")[0] == name}
        for part in parts:
            tensors.pop(f"{name}.{part}")
        args = LayerArgs(weights=TYPES[kind].weights, input_activations=TYPES[kind].input_activations)
        data = unpack_rows(parts["weight"]) if kind == PACKED else parts["weight"]
        ours = {"weight_data": pack_int4(data) if args.weights.num_bits <= 4 else data}
        if kind == STATIC:
            args = self._static(name, parts, ours, args, has_bias=has_bias)
        else:
            kept = self.dtype if kind in SCALED_IN_MODEL_TYPE else torch.float32
            ours["weight_scale"] = parts["weight_scale"].to(kept).float()
            if "bias" in parts:
                ours["bias"] = parts["bias"].float()
        if kind == PACKED:
            self._compare_scale_bias(name, parts["scale_bias"], data, ours["weight_scale"])
        if kind == FLATQUANT:
            args = _clipped(args, float(parts["clip_ratio"]))
        tensors |= {f"{name}.{part}": tensor for part, tensor in ours.items()}
        return args

    def _static(self, name: str, parts: Tensors, ours: Tensors, args: LayerArgs, *, has_bias: bool) -> LayerArgs:
        """Take what runs, ``(q_x q_wᵀ + quant_bias) deq_scale``; the float bias beside it is not what is added."""
        scale = parts["input_scale"].to(self.dtype).float()
        deq_scale = deq_scale_floats(parts["deq_scale"])
        ours["weight_scale"] = self._weight_scale(name, scale, deq_scale, parts.get("weight_scale"))
        ours["input_scale"] = scale.view(1, 1)
        added = (parts["quant_bias"].double() * deq_scale.double()).float()
        offset = parts["input_offset"].to(torch.int32).view(1, 1)
        if bool(offset):
            ours |= {"input_zero_point": offset, "bias": added}
            activations = dataclasses.replace(TYPES[STATIC].input_activations or args.weights, symmetric=False)
            return dataclasses.replace(args, input_activations=activations)
        if has_bias:
            ours["bias"] = added
        elif bool(parts["quant_bias"].any()):
            raise self._error(name, "quant_bias", "input_offset is 0 and the linear has no bias, and this is not 0")
        return args

    def _weight_scale(
        self, name: str, input_scale: torch.Tensor, deq_scale: torch.Tensor, stored: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the scale of the weight that deq_scale stands for: the stored one where that gives it exactly."""
        if stored is not None:
            given = stored.float()
            product = (given * input_scale).flatten()
            if torch.equal(product, deq_scale):
                return given
            if bool(((deq_scale / product - 1).abs() > _DEQ_TOLERANCE).any()):
                raise self._error(name, "deq_scale", "it is not input_scale times weight_scale")
        return (deq_scale / input_scale)[:, None]

    def _compare_scale_bias(self, name: str, found: torch.Tensor, data: torch.Tensor, scale: torch.Tensor) -> None:
        expected = scale_bias(name, data, scale)
        if bool((found - expected).norm() > _SCALE_BIAS_TOLERANCE * expected.norm()):
            raise self._error(name, "scale_bias", "it is not 8 times the sum of the dequantized weights")

    def _compare_inputs(self, group: LinearGroup) -> None:
        """Refuse fused linears of static type with different inputs: the loader has one place for all of them."""
        for part in ("input_scale", "input_offset"):
            self._require_shared(group, part)

    def _require_shared(self, group: LinearGroup, part: str) -> None:
        found = {name: self.stored[f"{name}.{part}"] for name in group.names if f"{name}.{part}" in self.stored}
        first = next(iter(found.values()), None)
        for name, tensor in found.items():
            if first is not None and not torch.equal(tensor, first):
                raise self._error(name, part, f"it differs from that of {group.parts[0]}, with which it is loaded")

    def _compare_clips(self, group: LinearGroup, linears: dict[str, LayerArgs]) -> None:
        taken = [linears[name].input_activations for name in group.names if name in linears]
        clips = {args.clip_ratio for args in taken if args is not None}
        if len(clips) > 1:
            self.notes.append(
                f"{group.prefix}: the inputs of {', '.join(group.parts)} are clipped differently, as the file says;"
                " vLLM-Ascend clips all of them by the last one's ratio"
            )

    def _transform(self, group: LinearGroup, tensors: Tensors) -> None:
        owner = group.names[0]
        for part in ("left_trans", "right_trans"):
            self._require_shared(group, part)
        if group.norm_name is not None:
            owner = f"{self.block.name}.{group.norm_name}"
            tensors[f"{owner}.norm.weight"] = tensors.pop(f"{owner}.weight")
        for side in ("left", "right"):
            matrix = self.stored.get(f"{group.names[0]}.{side}_trans")
            if matrix is not None:
                tensors[f"{owner}.input_transform.{side}"] = matrix.to(self.dtype).float()

    def _cache(self, tensors: Tensors) -> QuantArgs | None:
        attention, linear_name = self.block.attention, self.block.linear_name
        names = [f"{linear_name(role)}.kv_cache_{part}" for role in ("k", "v") for part in ("scale", "offset")]
        if names[0] not in self.stored:
            return None
        key_scale, key_offset, value_scale, value_offset = (self.stored[name] for name in names)
        for name in names:
            tensors.pop(name, None)
        shape = (attention.num_key_value_heads, 1, attention.head_dim)
        prefix = f"{attention.name}.extension"
        tensors[f"{prefix}.keys.scale"] = key_scale.to(self.dtype).float().view(shape)
        tensors[f"{prefix}.values.scale"] = value_scale.to(self.dtype).float().view(shape)
        if not bool(key_offset.any() or value_offset.any()):
            return KV_CACHE
        self.notes.append(
            f"{attention.name}: kv_cache_offset is not 0, and is taken off when the cache is read, as it should be;"
            " vLLM-Ascend's dense attention leaves it in"
        )
        tensors[f"{prefix}.keys.zero_point"] = key_offset.to(torch.int32).view(shape)
        tensors[f"{prefix}.values.zero_point"] = value_offset.to(torch.int32).view(shape)
        return dataclasses.replace(KV_CACHE, symmetric=False)

    def _error(self, name: str, part: str, rule: str) -> ModelError:
        file = self.path / self.files[f"{name}.{part}"]
        return ModelError(f"{file}: {name}.{part}: {rule}")


def _clipped(args: LayerArgs, ratio: float) -> LayerArgs:
    activations = args.input_activations
    assert activations is not None
    return dataclasses.replace(args, input_activations=dataclasses.replace(activations, clip_ratio=ratio))


def unpack_rows(packed: torch.Tensor) -> torch.Tensor:
    """Unpack int8 ``[out / 2, in]``, even rows in the low and odd ones in the high nibbles, to int8 ``[out, in]``."""
    return torch.stack(((packed << 4) >> 4, packed >> 4), dim=1).flatten(0, 1)


def deq_scale_floats(stored: torch.Tensor) -> torch.Tensor:
    """Return float32 scales ``[out]`` that are stored as such, or as their bits in int64."""
    return stored.to(torch.int32).view(torch.float32) if stored.dtype == torch.int64 else stored


def scale_bias(name: str, data: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return what a W4A8 product with inputs less 8 lacks, ``8 Σ_in(weight)``: float32 ``[out, 1]`` or ``[out, 16]``.

    data: int8 ``[out, in]``, scale: float32 ``[out, 1]``.
    """
    splits = NUM_SPLITS if name.endswith(OUTPUT_INPUT) else 1
    sums = data.view(len(data), splits, -1).sum(dim=-1, dtype=torch.int64)
    return (8 * sums.double() * scale.double()).float()
