"""Scales are those of the layer before, as after weights were swapped in place."""

import dataclasses

import torch

from quantguard.modeling.swapping import QuantizedLayer
from quantguard.numerics import QuantTensor
from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_layers

AREA = "packing"
RECIPE = "w8a8"
EXPECTED = ("accuracy", "layerwise")


def plant(lab: Lab) -> None:
    before: dict[str, torch.Tensor] = {}

    def keep(layers: dict[str, QuantizedLayer]) -> dict[str, QuantizedLayer]:
        found = {}
        for name, layer in layers.items():
            part = name.rpartition(".")[2]
            assert isinstance(layer.weight, QuantTensor)
            stale = dataclasses.replace(layer.weight, scale=before.get(part, layer.weight.scale))
            before[part] = layer.weight.scale
            found[name] = dataclasses.replace(layer, weight=stale)
        return found

    spoil_layers(lab, keep)
