"""The two nibbles of a byte are swapped in packed 4-bit weights."""

from quantguard.kernels.cpu import weight_only_linear
from quantguard.kernels.int8_linear import Buffers
from quantguard.numerics import QuantTensor
from tests.support.fault_lab import Lab

AREA = "packing"
RECIPE = "gptq-w4a16"
EXPECTED = ("accuracy", "layerwise", "fidelity")


def plant(lab: Lab) -> None:
    pack = weight_only_linear.pack

    def swapped(weight: QuantTensor) -> Buffers:
        packed = pack(weight)
        return packed | {"data": (packed["data"] << 4) | (packed["data"] >> 4)}

    lab.patch.setattr(weight_only_linear, "pack", swapped)
