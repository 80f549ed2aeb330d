"""Statistics are taken on random tokens."""

import torch

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import Sequences, spoil_calibration

AREA = "calibration"
RECIPE = "gptq-w4a16"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    generator = torch.Generator().manual_seed(0)

    def drawn(sequences: Sequences) -> Sequences:
        return [torch.randint(544, (len(s),), generator=generator).tolist() for s in sequences]

    spoil_calibration(lab, drawn)
