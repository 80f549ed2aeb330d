"""Compiled loops on torch's own threads, side by side.

PyTorch's threads are GNU OpenMP's. They wait for work in a busy loop, so that a second pool of threads would share the
cores with them, and Numba's pools either change the number of torch's threads (OpenMP) or take a third of a
millisecond to wake (workqueue). What runs here is handed to OpenMP directly; where torch has other threads, such as on
macOS, it runs on one.
"""

import ctypes
import functools
import itertools
import pathlib
from collections.abc import Callable
from typing import Any

import torch

_WORK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_LAUNCH = ctypes.CFUNCTYPE(None, _WORK, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)


def over_range(total: int, kernel: Callable[..., None], *arguments: Any) -> None:
    """Call ``kernel(*arguments, start, stop)`` for consecutive parts of ``range(total)``, a thread each.

    Raises what the kernel raises. Python starts each part, which takes some 50 microseconds.
    """
    num_parts, launch = torch.get_num_threads(), launcher()
    if num_parts == 1 or not launch:
        kernel(*arguments, 0, total)
        return
    bounds = [total * index // num_parts for index in range(num_parts + 1)]
    parts, failures = itertools.pairwise(bounds), list[BaseException]()

    def work(_: object) -> None:
        try:
            for start, stop in parts:
                kernel(*arguments, start, stop)
        except BaseException as failure:  # noqa: BLE001 - raised below: it cannot pass through OpenMP
            failures.append(failure)

    _LAUNCH(launch)(_WORK(work), None, num_parts, 0)
    if failures:
        raise failures[0]


@functools.cache
def launcher() -> int:
    """Return the address of the function that hands work to torch's threads, or 0 where they are not GNU OpenMP's."""
    maps = pathlib.Path("/proc/self/maps")
    if not maps.exists():
        return 0
    # The sixth column is the file; a file name may hold spaces.
    lines = (line.split(maxsplit=5) for line in maps.read_text(encoding="utf-8", errors="replace").splitlines())
    loaded = {columns[5] for columns in lines if len(columns) == 6 and "libgomp" in columns[5]}
    # Another package may have brought a library of its own, whose threads are not torch's.
    folder = str(pathlib.Path(torch.__file__).parent)
    own = {path for path in loaded if path.startswith(folder)} or loaded
    if len(own) != 1:
        return 0
    return ctypes.cast(ctypes.CDLL(own.pop()).GOMP_parallel, ctypes.c_void_p).value or 0
