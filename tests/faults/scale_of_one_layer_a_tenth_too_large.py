"""The scales of one layer are a tenth too large."""

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_weights, with_scale

AREA = "packing"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    spoil_weights(lab, with_scale(lambda scale: scale * 1.1), only="layers.0.self_attn.v_proj")
