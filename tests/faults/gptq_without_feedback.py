"""GPTQ rounds without passing errors on to later columns."""

from quantguard.rounding import gptq
from tests.support.fault_lab import Lab

AREA = "rounding"
RECIPE = "gptq-w4a16"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    factor = gptq._inverse_factor
    lab.patch.setattr(gptq, "_inverse_factor", lambda *terms: factor(*terms).diagonal().diag())
