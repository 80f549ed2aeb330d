"""Benchmarks: one file each, with ``load()`` returning a Benchmark."""

from quantguard.benchmarks._benchmark import GATE_SEED, Benchmark, choose_subset, continuations, held_back

__all__ = ["GATE_SEED", "Benchmark", "choose_subset", "continuations", "held_back"]
