"""The tokens of every calibration sample are shuffled."""

import random

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_calibration

AREA = "calibration"
RECIPE = "gptq-w4a16"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    rng = random.Random(0)
    spoil_calibration(lab, lambda sequences: [rng.sample(list(sequence), len(sequence)) for sequence in sequences])
