"""Finding an Ascend NPU that really works, or standing in for one."""

import importlib

import torch

from quantguard.errors import KernelError
from quantguard.kernels.ascend.emulation import enable

# The name of the emulated device: of its platform, and of what a model is loaded to.
EMULATED = "emulated-910b"


def require() -> str:
    """Return the name of the first NPU, ``npu:0``; raise KernelError saying what stands in the way."""
    try:
        importlib.import_module("torch_npu")
    except (ImportError, OSError, RuntimeError) as error:
        raise KernelError(f"torch_npu does not load: {error}. Is CANN's set_env.sh sourced?") from error
    npu = getattr(torch, "npu", None)
    if npu is None or not npu.is_available():
        raise KernelError(
            "torch_npu loads but finds no Ascend NPU. Does npu-smi info show one, and may this user open it?"
        )
    try:
        # A driver can count a device that nothing can be put on: only an allocation tells.
        torch.empty(1, device="npu:0")
    except RuntimeError as error:
        raise KernelError(
            f"torch_npu counts an NPU, and nothing can be allocated on it: {str(error).splitlines()[0]}. Do CANN and"
            " the driver fit this torch_npu?"
        ) from error
    return "npu:0"


def emulate() -> str:
    """Put the emulated operations in place; return the name of the emulated device."""
    enable()
    return EMULATED


def torch_device(device: str) -> str:
    """Return what torch calls a device, its operations in place: the emulated one is the CPU."""
    if device != EMULATED:
        return device
    emulate()
    return "cpu"
