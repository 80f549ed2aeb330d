"""GPTQ rounds reordered columns by the scales of the columns in order."""

from quantguard.rounding import gptq
from tests.support.fault_lab import Lab

AREA = "rounding"
RECIPE = "gptq-w4a16"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    visit = gptq._round_inputs
    lab.patch.setattr(
        gptq, "_round_inputs", lambda work, factor, groups, **more: visit(work, factor, groups.sort().values, **more)
    )
