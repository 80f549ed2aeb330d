"""Zero points of asymmetric weights are too large by one."""

import dataclasses

from quantguard.numerics import QuantTensor
from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_weights

AREA = "packing"
RECIPE = "awq-w4a16"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def more(weight: QuantTensor) -> QuantTensor:
        assert weight.zero_point is not None
        return dataclasses.replace(weight, zero_point=weight.zero_point + 1)

    spoil_weights(lab, more)
