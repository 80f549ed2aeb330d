"""An Ascend NPU of this machine, through torch_npu."""

from collections.abc import Callable, Sequence
from typing import Any

from quantguard.host import npu_software

TORCH_TYPE = "npu"
IS_EMULATED = False
# Its kernels take no float32 activations.
DTYPE = "bfloat16"
BACKENDS = ("ascend",)
NAMED_BACKENDS = ("reference", "triton")
COUNTED = "what the NPU's allocator hands out on top, by torch_npu's statistics; not what it reserves without use"


def platform() -> str:
    """Return the family of the NPUs, such as ``ascend-910b``; raise UsageError where npu-smi shows no one family."""
    return npu_software.installed_npu_software().platform()


def peaks(name: str, works: Sequence[Callable[[], object]]) -> list[int]:
    """Ask torch_npu's allocator for the most that it had handed out while each piece of work ran."""
    import torch  # noqa: PLC0415 - judging knows devices without torch

    npu: Any = getattr(torch, "npu")  # noqa: B009 - torch has it once torch_npu is loaded
    npu.synchronize(name)
    before, found = int(npu.memory_allocated(name)), []
    for work in works:
        npu.reset_peak_memory_stats(name)
        work()
        npu.synchronize(name)
        found.append(int(npu.max_memory_allocated(name)) - before)
    return found
