"""What the file of a benchmark has, and those that there are."""

from collections.abc import Sequence
from typing import Any, Protocol

from quantguard.benchmarks._benchmark import Benchmark
from quantguard.records import MissingRequirement, Sample
from quantguard.registry import Registry


class BenchmarkSource(Protocol):
    """What a benchmark's file has."""

    def load(self) -> Benchmark:
        """Return the benchmark; raise DataError where its items are not here or are not what was pinned."""


class Downloaded(Protocol):
    """A benchmark that needs more than its file, such as items from elsewhere or a sandbox."""

    @property
    def DESCRIPTION(self) -> str:
        """What it asks, in a few words, told without its items."""

    @property
    def LICENCE(self) -> str:
        """The licence of its items."""

    def missing(self) -> list[MissingRequirement]:
        """Return what a run would lack here."""


class Text(Protocol):
    """A benchmark whose text the model reads, of the task ``fidelity``."""

    def token_sequences(self, tokenizer: Any, samples: Sequence[Sample]) -> list[list[int]]:
        """Return the windows of tokens that the model reads; raise DataError where they are too few."""


members = Registry("benchmarks", BenchmarkSource, kind="benchmark", abilities=[Downloaded, Text])
