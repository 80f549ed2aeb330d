"""GPTQ's damping is a hundred times what the recipe asks for."""

from typing import Any

from quantguard.rounding import gptq
from tests.support.fault_lab import Lab

AREA = "rounding"
RECIPE = "gptq-w4a16"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    factor: Any = gptq._inverse_factor
    lab.patch.setattr(gptq, "_inverse_factor", lambda *terms: factor(*terms[:-1], 100 * float(terms[-1])))
