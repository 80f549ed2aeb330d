"""Zero points of asymmetric weights are too large by one."""

import dataclasses

from _lab import Lab
from _spoiling import spoil_weights

from quantguard.numerics import QuantTensor

AREA = "packing"
RECIPE = "awq-w4a16"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def more(weight: QuantTensor) -> QuantTensor:
        assert weight.zero_point is not None
        return dataclasses.replace(weight, zero_point=weight.zero_point + 1)

    spoil_weights(lab, more)
