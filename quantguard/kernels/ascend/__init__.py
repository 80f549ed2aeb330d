"""Ascend NPUs (Atlas A2) through torch_npu's quantized operations, or through the same calls emulated on the CPU.

Results agree with the reference within each op's ``TOLERANCE``: they are float16 or bfloat16, and scales lose bits
where the matrix unit shortens them.
"""

from quantguard.kernels.ascend.doctor import missing, trial_device

__all__ = ["emulate", "missing", "trial_device"]


def emulate() -> None:
    """Put the emulated operations in place."""
    from quantguard.kernels.ascend.emulation import enable  # noqa: PLC0415 - who looks for an NPU does without

    enable()
