"""Compiled loops on as many threads as torch has.

The threads are Python's, since compiled kernels release its lock: Numba's own pools either change the number of torch's
threads (OpenMP) or take a third of a millisecond to wake (workqueue).
"""

import functools
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def over_range(total: int, run: Callable[[int, int], None]) -> None:
    """Call ``run(start, stop)`` for consecutive parts of ``range(total)``, a thread each; ``run`` releases the lock."""
    threads = torch.get_num_threads()
    bounds = [total * index // threads for index in range(threads + 1)]
    others = [_pool().submit(run, start, stop) for start, stop in itertools.pairwise(bounds[1:])]
    run(0, bounds[1])
    for other in others:
        other.result()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="quantguard")
