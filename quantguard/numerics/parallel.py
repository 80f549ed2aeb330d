"""Compiled loops on as many threads as torch has.

The threads are Python's, since compiled kernels release its lock: Numba's own pools either change the number of torch's
threads (OpenMP) or take a third of a millisecond to wake (workqueue).
"""

import functools
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch


def over_range(total: int, kernel: Callable[..., None], *arguments: Any) -> None:
    """Call ``kernel(*arguments, start, stop)`` for consecutive parts of ``range(total)``, a thread each."""
    threads = torch.get_num_threads()
    bounds = [total * index // threads for index in range(threads + 1)]
    others = [_pool().submit(kernel, *arguments, start, stop) for start, stop in itertools.pairwise(bounds[1:])]
    kernel(*arguments, 0, bounds[1])
    for other in others:
        other.result()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="quantguard")
