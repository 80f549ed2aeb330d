"""Keys are scaled by the first scales of the queries of their layer."""

import dataclasses

from quantguard.modeling.swapping import QuantizedLayer
from quantguard.numerics import QuantTensor
from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_layers

AREA = "packing"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def swap(layers: dict[str, QuantizedLayer]) -> dict[str, QuantizedLayer]:
        query, key = (next(name for name in layers if name.endswith(part)) for part in ("q_proj", "k_proj"))
        weight, other = layers[key].weight, layers[query].weight
        assert isinstance(weight, QuantTensor)
        assert isinstance(other, QuantTensor)
        swapped = dataclasses.replace(weight, scale=other.scale[: len(weight.scale)])
        return layers | {key: dataclasses.replace(layers[key], weight=swapped)}

    spoil_layers(lab, swap)
