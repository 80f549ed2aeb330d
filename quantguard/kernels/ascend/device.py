"""Finding an Ascend NPU that really works.

``is_available`` is true as soon as the runtime counts a device, which a driver that cannot be used does too: only a
number that went to the NPU and came back shows that it works.
"""

import importlib
from typing import Any

import torch

from quantguard.errors import KernelError


def require() -> str:
    """Return the name of the first NPU, ``npu:0``; raise KernelError saying what stands in the way."""
    count()
    return compute(0)


def count() -> int:
    """Return how many NPUs torch_npu sees, at least one; raise KernelError saying what stands in the way.

    Nothing runs on an NPU for that, so a measurement of another process is not disturbed.
    """
    try:
        importlib.import_module("torch_npu")
    except (ImportError, OSError, RuntimeError) as error:
        raise KernelError(f"torch_npu does not load: {error}. Is CANN's set_env.sh sourced?") from error
    npu: Any = getattr(torch, "npu", None)
    found = int(npu.device_count()) if npu is not None and npu.is_available() else 0
    if not found:
        raise KernelError(
            "torch_npu loads but finds no Ascend NPU. Does npu-smi info show one, and may this user open it?"
        )
    return found


def compute(index: int) -> str:
    """Add two numbers on an NPU and return its name; raise KernelError where they do not come back."""
    name = f"npu:{index}"
    try:
        total = torch.ones(2, device=name).sum().item()
    except (RuntimeError, OSError, AssertionError) as error:
        raise KernelError(
            f"torch_npu counts an Ascend NPU, and nothing can be put on {name}: {str(error).splitlines()[0]}."
            " Do the driver, CANN and torch_npu fit each other? Type: npu-smi info"
        ) from error
    if total != 2:
        raise KernelError(f"{name} adds 1 and 1 to {total}. Type: npu-smi info")
    return name
