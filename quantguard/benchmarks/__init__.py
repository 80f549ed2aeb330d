"""Benchmarks: fixed sets of items with the conventions to run them by; a run reads each once (``Benchmarks``)."""

from quantguard.benchmarks._benchmark import SUBSET_SEED, Benchmark, choose_subset, continuations, held_back
from quantguard.benchmarks._sources import BenchmarkSource, Downloaded, Text, members
from quantguard.benchmarks._task import NOTHING, Benchmarks, Decoding, Task, task_name

__all__ = [
    "NOTHING",
    "SUBSET_SEED",
    "Benchmark",
    "BenchmarkSource",
    "Benchmarks",
    "Decoding",
    "Downloaded",
    "Task",
    "Text",
    "choose_subset",
    "continuations",
    "held_back",
    "members",
    "task_name",
]
