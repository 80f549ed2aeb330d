"""Finding an Ascend NPU that really works."""

import importlib

import torch

from quantguard.errors import KernelError


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
    return "npu:0"
