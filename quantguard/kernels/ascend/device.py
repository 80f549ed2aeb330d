"""Finding an Ascend NPU that really works.

``is_available`` is true as soon as the runtime counts a device, which a driver that cannot be used does too: only a
number that went to the NPU and came back shows that it works.
"""

import functools
import importlib
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import torch

from quantguard.errors import KernelError, UsageError
from quantguard.host import visible_npus
from quantguard.host.leases import Leases, npu


def require() -> str:
    """Return the name of the first NPU, ``npu:0``; raise KernelError saying what stands in the way."""
    count()
    return compute(0)


def probe() -> list[int]:
    """Return the ids of the NPUs that this process sees, one of them proven to work; raise KernelError for none.

    The proof is a computation on an NPU that nobody has leased, so that no measurement of another run is disturbed.
    Where all are leased, others are at work on them, which is proof enough.
    """
    ids = visible()
    index = take_free(ids)
    if index is not None:
        compute(index)
    return ids


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


def visible() -> list[int]:
    """Return the ids of the NPUs that this process sees; raise KernelError for none and UsageError for a wrong list."""
    found, listed = count(), visible_npus.visible_ids(os.environ)
    if listed is not None and len(listed) != found:
        raise UsageError(
            f"{visible_npus.VARIABLE} lists {len(listed)} NPUs ({os.environ[visible_npus.VARIABLE]}) and torch_npu"
            f" finds {found} of them. List those that npu-smi info shows"
        )
    return list(range(found)) if listed is None else list(listed)


def take_free(ids: Sequence[int]) -> int | None:
    """Lease an NPU that nobody holds, until this process ends, and return its index; None where there is none."""
    return next((index for index, device_id in enumerate(ids) if _leases().try_hold(npu(device_id))), None)


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


@functools.cache
def _leases() -> Leases:
    # A lease ends with its object, so this one lives as long as the process.
    return Leases(command=shlex.join(sys.orig_argv[:1]), run=None, wait_seconds=0, announce=print)
