"""Integer sums wrap around at 16 bits."""

import torch
from _lab import Lab
from _spoiling import spoil_sums

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("accuracy", "layerwise", "fidelity")


def plant(lab: Lab) -> None:
    spoil_sums(lab, lambda sums: sums.to(torch.int16))
