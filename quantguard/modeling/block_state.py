"""A quantized block as named tensors and settings, whatever kernel it runs on, and back."""

import dataclasses
import itertools
from typing import Any

import torch
from torch import nn

from quantguard.errors import ModelError
from quantguard.modeling.attention import AttentionExtension, extend_attention
from quantguard.modeling.block import Block, LinearGroup
from quantguard.modeling.online import KroneckerTransform, attach_input_transform
from quantguard.modeling.quant_linear import QuantLinear
from quantguard.modeling.swapping import QuantizedLayer, swap_linears
from quantguard.numerics import FakeQuantTensor, KVQuantizer, QuantTensor, pack_int4, unpack_int4
from quantguard.records import LayerArgs, LayerReport, QuantArgs

Tensors = dict[str, torch.Tensor]
_TRANSFORM = "input_transform"
_CACHE = ("keys", "values")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BlockState:
    """What is known of a quantized block beside its tensors: the settings of its linears and cache, and its report."""

    linears: dict[str, LayerArgs]
    kv_cache: QuantArgs | None
    report: LayerReport


def block_state(block: Block, layers: dict[str, QuantizedLayer], report: LayerReport) -> tuple[BlockState, Tensors]:
    """Take a quantized block apart; ``layers`` are the weights that its linears were made from.

    A linear's integers are ``weight_data``, int8 ``[out_features, in_features]`` or, up to 4 bits, two to a byte as
    uint8 ``[out_features, ceil(in_features / 2)]``; with them go ``weight_scale``, float32 ``[out_features,
    num_groups]``, and ``weight_zero_point``, int32, where the weight is asymmetric. ``input_permutation``, int64
    ``[in_features]``, is there where the columns of the weight take the inputs in another order than their own. Static
    activations have an ``input_scale`` and, where they are asymmetric, an ``input_zero_point``.
    """
    tensors = {f"{block.name}.{key}": tensor for key, tensor in block.layer.state_dict().items()}
    for name, layer in layers.items():
        module = block.linears[name]
        if isinstance(module, QuantLinear):
            for packed in module.packed_names:
                del tensors[f"{name}.{packed}"]
            tensors |= {f"{name}.{key}": tensor for key, tensor in _codes(layer.weight).items()}
    extension = getattr(block.attention.module, "extension", None)
    kv_cache = None
    if isinstance(extension, AttentionExtension) and extension.quantizers is not None:
        kv_cache = extension.quantizers[0].args
        tensors |= _cache_tensors(block, extension.quantizers)
    linears = {
        name: LayerArgs(weights=layer.weight.args, input_activations=layer.input_activations)
        for name, layer in layers.items()
    }
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return BlockState(linears=linears, kv_cache=kv_cache, report=report), stored


def restore_block(
    block: Block, state: BlockState, tensors: Tensors, *, config: Any, backend: str, device_type: str
) -> None:
    """Fill a block that holds no weights yet, and put its quantized linears in place.

    Raises ModelError naming a tensor that is missing or one too many.
    """
    left = dict(tensors)
    for group in block.groups.values():
        _restore_transform(block, group, left)
    _restore_attention(block, state, left, config)
    widths = {name: linear.in_features for name, linear in block.linears.items()}
    codes = {name: _take_codes(name, args, widths[name], left) for name, args in state.linears.items()}
    scales = {name: left.pop(f"{name}.input_scale", None) for name in state.linears}
    orders = {name: left.pop(f"{name}.input_permutation", None) for name in codes if codes[name] is not None}
    zero_points = {name: left.pop(f"{name}.input_zero_point", None) for name in state.linears}
    for name in (name for name, zero_point in zero_points.items() if zero_point is not None):
        _make_room_for_bias(block.linears[name])
    local = {name.removeprefix(f"{block.name}."): tensor for name, tensor in left.items()}
    _, strange = block.layer.load_state_dict(local, strict=False, assign=True)
    integers = {f"{name}.weight" for name, args in state.linears.items() if args.weights.type == "int"}
    filled = itertools.chain(block.layer.named_parameters(), block.layer.named_buffers())
    absent = [name for name, tensor in filled if tensor.is_meta and f"{block.name}.{name}" not in integers]
    if absent or strange:
        raise ModelError(f"{block.name}: tensors missing: {absent or 'none'}; unknown: {strange or 'none'}")
    layers = {}
    for name, args in state.linears.items():
        weight = codes[name] or FakeQuantTensor(weight=block.linears[name].weight.detach(), args=args.weights)
        layers[name] = QuantizedLayer(
            weight=weight,
            input_activations=args.input_activations,
            input_scale=scales[name],
            input_permutation=orders.get(name),
            input_zero_point=zero_points[name],
        )
    swap_linears(block, layers, backend=backend, device_type=device_type)


def _codes(weight: QuantTensor | FakeQuantTensor) -> Tensors:
    assert isinstance(weight, QuantTensor)
    data = pack_int4(weight.data) if weight.args.num_bits <= 4 else weight.data
    tensors = {"weight_data": data, "weight_scale": weight.scale}
    return tensors if weight.zero_point is None else tensors | {"weight_zero_point": weight.zero_point}


def _take_codes(name: str, args: LayerArgs, in_features: int, left: Tensors) -> QuantTensor | None:
    """Remove a linear's integers from what is left and return them; None where it has floats that codes stand for."""
    if args.weights.type != "int":
        return None
    data, scale = _take(left, f"{name}.weight_data"), _take(left, f"{name}.weight_scale")
    zero_point = None if args.weights.symmetric else _take(left, f"{name}.weight_zero_point")
    if args.weights.num_bits <= 4:
        data = unpack_int4(data, in_features)
    return QuantTensor(data=data, scale=scale, zero_point=zero_point, args=args.weights)


def _make_room_for_bias(linear: nn.Linear) -> None:
    """Let a linear without a bias have one: what the zero point of its input adds."""
    if linear.bias is None:
        linear.bias = nn.Parameter(torch.empty(linear.out_features, device="meta"), requires_grad=False)


def _take(left: Tensors, name: str) -> torch.Tensor:
    if name not in left:
        raise ModelError(f"tensor {name} is missing")
    return left.pop(name)


def _restore_transform(block: Block, group: LinearGroup, left: Tensors) -> None:
    owners = [f"{block.name}.{group.norm_name}"] if group.norm_name else list(group.names)
    factors = [left.get(f"{owners[0]}.{_TRANSFORM}.{side}") for side in ("left", "right")]
    if any(factor is not None for factor in factors):
        attach_input_transform(group, KroneckerTransform(*factors))
    if not group.norm_name:
        for owner in owners:
            for side in ("left", "right"):
                left.pop(f"{owner}.{_TRANSFORM}.{side}", None)


def _restore_attention(block: Block, state: BlockState, left: Tensors, config: Any) -> None:
    prefix = f"{block.attention.name}.extension."
    mine = {name.removeprefix(prefix): left.pop(name) for name in list(left) if name.startswith(prefix)}
    if not mine and state.kv_cache is None:
        return
    extension = extend_attention(config, block)
    extension.query_transform = mine.pop("query_transform", None)
    extension.key_transform = mine.pop("key_transform", None)
    if (extension.query_transform is None) != (extension.key_transform is None):
        raise ModelError(f"{block.name}: queries and keys are transformed together, and one transform is missing")
    if state.kv_cache is not None:
        keys, values = (
            KVQuantizer(
                args=state.kv_cache,
                scale=mine.pop(f"{which}.scale", None),
                zero_point=mine.pop(f"{which}.zero_point", None),
            )
            for which in _CACHE
        )
        extension.quantizers = (keys, values)
    if mine:
        raise ModelError(f"{block.name}: tensors of its attention that nothing takes: {', '.join(sorted(mine))}")


def _cache_tensors(block: Block, quantizers: tuple[KVQuantizer, KVQuantizer]) -> Tensors:
    tensors = {}
    for which, quantizer in zip(_CACHE, quantizers, strict=True):
        for part, tensor in (("scale", quantizer.scale), ("zero_point", quantizer.zero_point)):
            if tensor is not None:
                tensors[f"{block.attention.name}.extension.{which}.{part}"] = tensor
    return tensors
