"""An Atlas A2 ("910B") whose vendor operations are emulated on the CPU, with their documented arithmetic."""

from quantguard.devices import cpu

TORCH_TYPE = "cpu"
IS_EMULATED = True
# The kernels take no float32 activations, as on the device itself.
DTYPE = "bfloat16"
BACKENDS = ("ascend",)
NAMED_BACKENDS = ("cpu", "reference", "triton")
COUNTED = cpu.COUNTED
peaks = cpu.peaks


def platform() -> str:
    """Return its own name: nothing of it is compared with the device."""
    return "emulated-910b"
