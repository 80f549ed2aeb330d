"""Packed weights are kept in a byte each where two fit."""

from quantguard.devices import cpu
from quantguard.kernels import int8_linear, weight_only_linear
from tests.support.fault_lab import Lab

AREA = "packing"
RECIPE = "gptq-w4a16"
EXPECTED = ("memory",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(cpu, "BACKENDS", ("reference",))
    lab.patch.setattr(weight_only_linear, "pack", int8_linear.pack)
