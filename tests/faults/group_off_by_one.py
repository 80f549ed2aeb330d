"""Groups of weights have the scale of the group before."""

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_weights, with_scale

AREA = "packing"
RECIPE = "gptq-w4a16"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    spoil_weights(lab, with_scale(lambda scale: scale.roll(1, dims=1)))
