"""Integer sums wrap around at 16 bits."""

import torch

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_sums

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("accuracy", "layerwise", "fidelity")


def plant(lab: Lab) -> None:
    spoil_sums(lab, lambda sums: sums.to(torch.int16))
