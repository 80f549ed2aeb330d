"""A benchmark as it is run: its items, how they are answered and the name that results go by."""

import dataclasses
from collections.abc import Iterable
from typing import Protocol, Self

from quantguard import registry
from quantguard.benchmarks._benchmark import SUBSET_SEED, Benchmark, choose_subset
from quantguard.errors import UsageError
from quantguard.records import GenerationConfig

# Stands for the decoding of a benchmark that generates nothing.
NOTHING = GenerationConfig(max_new_tokens=1)
# What a name says of decoding that is not the usual: the letter, and the usual value.
_USUAL = {"temperature": ("t", 0.0), "top_p": ("p", 1.0), "epochs": ("e", 1), "max_new_tokens": ("n", None)}


class Benchmarks:
    """The benchmarks of one run, each of which is read once."""

    def __init__(self) -> None:
        self._read: dict[str, Benchmark] = {}

    def __getitem__(self, name: str) -> Benchmark:
        """Return a benchmark; raises UnknownNameError, and DataError where its items cannot be had."""
        if name not in self._read:
            self._read[name] = registry.benchmarks[name].load()
        return self._read[name]


class Decoding(Protocol):
    """The keywords of a gate that say what is run and how it is answered."""

    @property
    def benchmark(self) -> str:
        """The name of the benchmark."""

    @property
    def subset(self) -> int | None:
        """The number of items; absent, the benchmark's usual number."""

    @property
    def mode(self) -> str | None:
        """The thinking mode; absent, the chat template's own."""

    @property
    def temperature(self) -> float:
        """The sampling temperature; 0 is greedy."""

    @property
    def top_p(self) -> float:
        """The nucleus of sampling."""

    @property
    def epochs(self) -> int:
        """How many times every item is answered."""

    @property
    def max_new_tokens(self) -> int | None:
        """The limit of an answer; absent, the benchmark's own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """A benchmark with the settings that it is run by."""

    name: str
    """What baselines call it: the benchmark, and every way in which decoding is not the usual one."""
    benchmark: Benchmark
    """The items and their conventions."""
    config: GenerationConfig
    """How items are answered."""
    subset: int | None = None
    """The number of items of a new baseline; absent, the benchmark's usual number."""

    @classmethod
    def of(cls, decoding: Decoding, benchmark: Benchmark, *, seed: int) -> Self:
        """Make the task of a gate; raise UsageError for a benchmark without accuracy, or one that generates nothing."""
        if benchmark.task == "fidelity":
            raise UsageError(
                f"{benchmark.name} has no accuracy to gate; use it with: quantguard evaluate --benchmark"
                f" {benchmark.name}"
            )
        name, subset = task_name(decoding), decoding.subset
        if benchmark.task == "choice":
            if (decoding.mode, decoding.temperature, decoding.epochs, decoding.max_new_tokens) != (None, 0.0, 1, None):
                raise UsageError(
                    f"{benchmark.name} generates nothing: mode, temperature, epochs and max_new_tokens do not apply to"
                    " it"
                )
            return cls(name=name, benchmark=benchmark, config=NOTHING, subset=subset)
        limit = benchmark.max_new_tokens if decoding.max_new_tokens is None else decoding.max_new_tokens
        config = GenerationConfig(
            max_new_tokens=limit,
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            epochs=decoding.epochs,
            seed=seed,
            mode=decoding.mode,
        )
        return cls(name=name, benchmark=benchmark, config=config, subset=subset)

    def draw(self, count: int | None = None) -> tuple[str, ...]:
        """Return the ids of ``count`` items as a new baseline has them; absent, the benchmark's usual number.

        A smaller draw is the beginning of a larger one. Afterwards the baseline itself says which items a gate runs.
        """
        return tuple(sample.id for sample in choose_subset(self.benchmark, count, seed=SUBSET_SEED))

    def require_items(self, sample_ids: Iterable[str]) -> None:
        """Raise UsageError for an item that the benchmark does not have; a run that ends early may never meet it."""
        known = {sample.id for sample in self.benchmark.samples}
        if unknown := [id_ for id_ in sample_ids if id_ not in known]:
            raise UsageError(f"{self.benchmark.name} has no item {unknown[0]!r}")

    def clusters(self, key: str | None, sample_ids: Iterable[str]) -> dict[str, str] | None:
        """Return what each item belongs to by a metadata key; None without a key, where items are independent.

        Raises UsageError for a key that some of the items do not have.
        """
        if key is None:
            return None
        wanted = set(sample_ids)
        found = {sample.id: sample.metadata.get(key) for sample in self.benchmark.samples}
        if missing := [id_ for id_ in wanted if found.get(id_) is None]:
            raise UsageError(
                f"accuracy(cluster={key!r}): {len(missing)} items of {self.benchmark.name} have no such metadata"
            )
        return {id_: str(found[id_]) for id_ in wanted}


def task_name(decoding: Decoding) -> str:
    """Name what is measured: the benchmark, and every way in which it is decoded that is not the usual one."""
    parts = [
        f"{letter}{_exactly(value)}"
        for key, (letter, usual) in _USUAL.items()
        if (value := getattr(decoding, key)) != usual
    ]
    return "@".join([decoding.benchmark, *([decoding.mode] if decoding.mode else []), *parts])


def _exactly(value: float) -> str:
    """Word a number in the shortest way that no other number has."""
    return short if float(short := f"{value:g}") == value else str(value)
