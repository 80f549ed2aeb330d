"""Activations pass in floating point where 8 bits are asked for."""

from typing import Any

from quantguard.modeling.quant_linear import QuantLinear
from quantguard.records import QuantArgs
from tests.support.fault_lab import Lab

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    quantized = QuantLinear.__init__

    def floating(self: QuantLinear, *args: Any, input_activations: QuantArgs | None, **more: Any) -> None:
        del input_activations
        quantized(self, *args, input_activations=None, **more)

    lab.patch.setattr(QuantLinear, "__init__", floating)
