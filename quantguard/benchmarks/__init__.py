"""Benchmarks: one file each, with ``load()`` returning a Benchmark; a run reads each of them once (``Benchmarks``)."""

from quantguard.benchmarks._benchmark import SUBSET_SEED, Benchmark, choose_subset, continuations, held_back
from quantguard.benchmarks._task import NOTHING, Benchmarks, Decoding, Task, task_name

__all__ = [
    "NOTHING",
    "SUBSET_SEED",
    "Benchmark",
    "Benchmarks",
    "Decoding",
    "Task",
    "choose_subset",
    "continuations",
    "held_back",
    "task_name",
]
