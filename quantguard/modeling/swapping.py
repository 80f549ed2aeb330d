"""Replacing float linears by quantized ones, and saying what ran."""

import collections
import dataclasses
from collections.abc import Iterator

import torch
from torch import nn

from quantguard.errors import KernelError
from quantguard.modeling.attention import AttentionExtension
from quantguard.modeling.finite import named_tensors, require_finite
from quantguard.modeling.quant_linear import FakeQuantLinear, QuantLinear
from quantguard.modeling.structure import Block
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

    Returns the float linears that were there, by full name. Raises ModelError where a scale, or what stays float, holds
    NaN or infinity.
    """
    for name, layer in layers.items():
        require_finite(_floats(name, layer), where="in the quantized model")
    replaced = {name: linear for name, linear in block.linears.items() if name in layers}
    for group in block.groups.values():
        for part, name, linear in zip(group.parts, group.names, group.linears, strict=True):
            if name in layers:
                setattr(
                    group.parent, part, _replacement(linear, layers[name], backend=backend, device_type=device_type)
                )
    require_finite(named_tensors(block.layer, block.name), where="in the quantized model")
    return replaced


def _floats(name: str, layer: QuantizedLayer) -> Iterator[tuple[str, torch.Tensor]]:
    """Return the scales of a quantized layer, or the weight that codes stand for, by name."""
    if isinstance(layer.weight, FakeQuantTensor):
        yield f"{name}.weight", layer.weight.weight
    else:
        yield f"{name}.weight_scale", layer.weight.scale
    if layer.input_scale is not None:
        yield f"{name}.input_scale", layer.input_scale


def _replacement(linear: nn.Linear, layer: QuantizedLayer, *, backend: str, device_type: str) -> nn.Module:
    transform = getattr(linear, "input_transform", None)
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
        input_permutation=layer.input_permutation,
        backend=backend,
        device_type=device_type,
    )


def kernels_in_use(model: nn.Module) -> dict[str, str]:
    """Count, for each op, the layers that each backend runs, such as ``{"int8_linear": "cpu (42 layers)"}``."""
    counts: dict[str, collections.Counter[str]] = {}
    for module in model.modules():
        if isinstance(module, (QuantLinear, FakeQuantLinear)):
            for op, backend in module.kernels.items():
                counts.setdefault(op, collections.Counter())[backend] += 1
        if isinstance(module, AttentionExtension) and module.quantizers is not None:
            counts.setdefault("kv_cache", collections.Counter())["reference"] += 1
    return {
        op: ", ".join(f"{backend} ({n} layers)" for backend, n in sorted(counter.items()))
        for op, counter in sorted(counts.items())
    }


def weight_bytes(model: nn.Module) -> int:
    """Add up the bytes of all parameters and buffers; tied weights count once."""
    return sum(tensor.numel() * tensor.element_size() for tensor in (*model.parameters(), *model.buffers()))
