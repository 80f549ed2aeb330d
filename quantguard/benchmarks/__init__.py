"""Benchmarks: one file each, with ``load()`` returning a Benchmark."""

from quantguard.benchmarks._benchmark import SUBSET_SEED, Benchmark, choose_subset, continuations, held_back

__all__ = ["SUBSET_SEED", "Benchmark", "choose_subset", "continuations", "held_back"]
