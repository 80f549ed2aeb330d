"""Replacing float linears by quantized ones, choosing what else a quantized block runs on, and saying what ran."""

import collections
import dataclasses
from collections.abc import Iterator

import torch
from torch import nn

from quantguard.errors import KernelError
from quantguard.modeling.attention import AttentionExtension, extension_of
from quantguard.modeling.block import Block, LinearGroup
from quantguard.modeling.fake_quant_linear import FakeQuantLinear
from quantguard.modeling.finite import named_tensors, require_finite
from quantguard.modeling.linear_plan import fuses_rotation
from quantguard.modeling.online import KroneckerTransform, TransformedLinear, TransformedNorm
from quantguard.modeling.quant_linear import QuantLinear
from quantguard.numerics import FakeQuantTensor, QuantTensor
from quantguard.records import QuantArgs


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedLayer:
    """What takes a linear's place: its weight, and what is done to its input.

    ``input_scale`` is that of static activations, ``input_zero_point`` goes with asymmetric ones (:class:`QuantLinear`
    says what the bias is then); ``input_permutation`` is the order in which the columns of the weight take the inputs,
    where that is not their own.
    """

    weight: QuantTensor | FakeQuantTensor
    input_activations: QuantArgs | None
    input_scale: torch.Tensor | None = None
    input_zero_point: torch.Tensor | None = None
    input_permutation: torch.Tensor | None = None


def swap_linears(
    block: Block, layers: dict[str, QuantizedLayer], *, backend: str, device_type: str
) -> dict[str, nn.Linear]:
    """Put a quantized linear in the place of each named one of a block; what is not named stays float.

    The block's online transforms and its KV cache, where it has them, run on the backend from now on as well. Returns
    the float linears that were there, by full name. Raises ModelError where a scale, or what stays float, holds NaN or
    infinity, and KernelError naming an operation that the backend lacks.
    """
    for name, layer in layers.items():
        require_finite(_floats(name, layer), where="in the quantized model")
    replaced = {name: linear for name, linear in block.linears.items() if name in layers}
    for group in block.groups.values():
        _swap_group(group, layers, backend=backend, device_type=device_type)
    extension = extension_of(block.attention.module)
    if extension is not None:
        extension.choose_kernels(backend=backend, device_type=device_type)
    require_finite(named_tensors(block.layer, block.name), where="in the quantized model")
    return replaced


def _swap_group(group: LinearGroup, layers: dict[str, QuantizedLayer], *, backend: str, device_type: str) -> None:
    shared = _left_to_linears(group, layers, backend=backend, device_type=device_type)
    for part, name, linear in zip(group.parts, group.names, group.linears, strict=True):
        if name in layers:
            new = _replacement(linear, layers[name], shared, backend=backend, device_type=device_type)
            setattr(group.parent, part, new)
    if isinstance(group.norm, TransformedNorm):
        group.norm.leaves_transform = shared is not None
    for transform in {id(found): found for found in _transforms_run(group)}.values():
        transform.choose_kernels(group.in_features, backend=backend, device_type=device_type)


def _left_to_linears(
    group: LinearGroup, layers: dict[str, QuantizedLayer], *, backend: str, device_type: str
) -> KroneckerTransform | None:
    """Return the transform behind a group's norm where every linear rotates and quantizes in one operation."""
    transform = group.norm.input_transform if isinstance(group.norm, TransformedNorm) else None
    if not isinstance(transform, KroneckerTransform):
        return None
    rotation = transform.rotation(group.in_features)
    for name in group.names:
        layer = layers.get(name)
        if layer is None or layer.input_permutation is not None or not isinstance(layer.weight, QuantTensor):
            return None
        settings = layer.weight.args, layer.input_activations, rotation
        if not fuses_rotation(*settings, backend=backend, device_type=device_type):
            return None
    return transform


def _transforms_run(group: LinearGroup) -> Iterator[KroneckerTransform]:
    """Return the transforms of a group's input that run as an operation of their own."""
    norm = group.norm
    if isinstance(norm, TransformedNorm) and not norm.leaves_transform:
        yield from _rotations(norm.input_transform)
    for linear in group.linears:
        if not (isinstance(linear, QuantLinear) and linear.plan.kind == "rotated"):
            yield from _rotations(getattr(linear, "input_transform", None))


def _rotations(transform: nn.Module | None) -> Iterator[KroneckerTransform]:
    if isinstance(transform, KroneckerTransform):
        yield transform


def _floats(name: str, layer: QuantizedLayer) -> Iterator[tuple[str, torch.Tensor]]:
    """Return the scales of a quantized layer, or the weight that codes stand for, by name."""
    if isinstance(layer.weight, FakeQuantTensor):
        yield f"{name}.weight", layer.weight.weight
    else:
        yield f"{name}.weight_scale", layer.weight.scale
    if layer.input_scale is not None:
        yield f"{name}.input_scale", layer.input_scale


def _replacement(
    linear: nn.Linear, layer: QuantizedLayer, shared: KroneckerTransform | None, *, backend: str, device_type: str
) -> nn.Module:
    transform = linear.input_transform if isinstance(linear, TransformedLinear) else None
    if isinstance(layer.weight, FakeQuantTensor):
        if layer.input_activations is not None or backend not in ("auto", "reference"):
            raise KernelError(
                f"{layer.weight.args.type} codes run on no kernel: leave input_activations out and take backend 'auto'"
            )
        return FakeQuantLinear(layer.weight, linear.bias, dtype=linear.weight.dtype, input_transform=transform)
    return QuantLinear(
        layer.weight,
        linear.bias,
        input_activations=layer.input_activations,
        input_scale=layer.input_scale,
        input_zero_point=layer.input_zero_point,
        input_transform=transform,
        shared_transform=shared,
        input_permutation=layer.input_permutation,
        backend=backend,
        device_type=device_type,
    )


def kernels_in_use(model: nn.Module) -> dict[str, str]:
    """Count, for each op, the layers that each backend runs, such as ``{"int8_linear": "cpu (42 layers)"}``.

    Every operation that quantization brings is here: linears, quantization of activations, online rotations (those of
    a layer's queries and keys are one), the KV cache and attention over it.
    """
    counts: dict[str, collections.Counter[str]] = {}
    for module in model.modules():
        if isinstance(module, (QuantLinear, FakeQuantLinear, KroneckerTransform, AttentionExtension)):
            for op, backend in module.kernels.items():
                counts.setdefault(op, collections.Counter())[backend] += 1
    return {
        op: ", ".join(f"{backend} ({n} layers)" for backend, n in sorted(counter.items()))
        for op, counter in sorted(counts.items())
    }


def weight_bytes(model: nn.Module) -> int:
    """Add up the bytes of all parameters and buffers; tied weights count once."""
    return sum(tensor.numel() * tensor.element_size() for tensor in (*model.parameters(), *model.buffers()))
