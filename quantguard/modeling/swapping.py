"""Replacing float linears by quantized ones, and saying what ran."""

import collections
from typing import cast

from torch import nn

from quantguard.modeling.quant_linear import QuantLinear
from quantguard.numerics import QuantTensor
from quantguard.records import Recipe


def swap_linears(
    model: nn.Module, weights: dict[str, QuantTensor], recipe: Recipe, *, backend: str, device_type: str
) -> None:
    """Put a QuantLinear in the place of each named Linear of ``model``."""
    for name, weight in weights.items():
        bias = cast(nn.Linear, model.get_submodule(name)).bias
        layer = QuantLinear(
            weight, bias, input_activations=recipe.input_activations, backend=backend, device_type=device_type
        )
        parent, _, part = name.rpartition(".")
        setattr(model.get_submodule(parent), part, layer)


def kernels_in_use(model: nn.Module) -> dict[str, str]:
    """Count, for each op, the layers that each backend runs, such as ``{"int8_linear": "cpu (42 layers)"}``."""
    counts: dict[str, collections.Counter[str]] = {}
    for module in model.modules():
        if isinstance(module, QuantLinear):
            for op, backend in module.kernels.items():
                counts.setdefault(op, collections.Counter())[backend] += 1
    return {
        op: ", ".join(f"{backend} ({n} layers)" for backend, n in sorted(counter.items()))
        for op, counter in sorted(counts.items())
    }


def weight_bytes(model: nn.Module) -> int:
    """Add up the bytes of all parameters and buffers; tied weights count once."""
    return sum(tensor.numel() * tensor.element_size() for tensor in (*model.parameters(), *model.buffers()))
