"""Benchmarks: one file each, with ``load()`` returning a Benchmark."""

from quantguard.benchmarks._benchmark import Benchmark, choose_subset

__all__ = ["Benchmark", "choose_subset"]
