"""The index of the weight scale is off by one row, in one layer."""

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_weights, with_scale

AREA = "packing"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    spoil_weights(lab, with_scale(lambda scale: scale.roll(1, dims=0)), only="layers.2.mlp.up_proj")
