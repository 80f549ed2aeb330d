"""What a benchmark is, and how a subset of it is drawn."""

import collections
import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from typing import Any, Literal

from quantguard.errors import DataError, UsageError
from quantguard.records import Sample
from quantguard.records.codec import digest

# Gates draw their items by this seed.
SUBSET_SEED = 0
# As in the evaluations of reasoning models since DeepSeek-R1.
_BOXED_INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A fixed set of items and the conventions to run it by.

    ``task`` is ``generate`` (the model answers, ``scorer`` judges), ``choice`` (the likeliest of a sample's ``choices``
    is the model's) or ``fidelity`` (the model reads, and is compared with the full-precision model). ``stratum`` names
    the metadata key that subsets are balanced over.
    """

    name: str
    description: str
    licence: str
    task: Literal["generate", "choice", "fidelity"]
    samples: tuple[Sample, ...]
    scorer: str | None = None
    instruction: str = ""
    max_new_tokens: int = 1
    default_subset: int
    stratum: str | None = None

    def __post_init__(self) -> None:
        repeated = [id_ for id_, count in collections.Counter(s.id for s in self.samples).items() if count > 1]
        if not self.samples or repeated:
            raise DataError(f"benchmark {self.name}: " + (f"ids repeat: {repeated[:3]}" if repeated else "no samples"))

    @functools.cached_property
    def sha256(self) -> str:
        """The hash of all items and of the instruction."""
        return digest([self.instruction, *self.samples])

    def prompt(self, sample: Sample) -> str:
        """Return what the user says to the model."""
        return f"{sample.input}\n{self.instruction}" if self.instruction else sample.input


def mathematics(**settings: Any) -> Benchmark:
    """Return a benchmark of problems whose answers stand in a box and are compared as mathematics."""
    return Benchmark(task="generate", scorer="math", instruction=_BOXED_INSTRUCTION, **settings)


def continuations(sample: Sample) -> list[str]:
    """Return what follows the text of a multiple-choice sample, one for each choice."""
    return [f" {choice}" for choice in sample.metadata["choices"]]


def held_back(benchmark: Benchmark, count: int, *, seed: int) -> tuple[Sample, ...]:
    """Draw ``count`` samples, by ``seed``, from those that gates come to last: a quarter of them all, or ``count``.

    Raises UsageError for a count that the benchmark does not have.
    """
    order = choose_subset(benchmark, len(benchmark.samples), seed=SUBSET_SEED)
    last = order[-max(count, len(order) // 4) :]
    return choose_subset(dataclasses.replace(benchmark, samples=last), count, seed=seed)


def choose_subset(benchmark: Benchmark, count: int | None, *, seed: int) -> tuple[Sample, ...]:
    """Draw ``count`` samples balanced over the stratum; absent, the benchmark's default number.

    The draw is by hash of seed and id, so a smaller subset of the same seed is contained in a larger one.
    Raises UsageError for a count that the benchmark does not have.
    """
    wanted = benchmark.default_subset if count is None else count
    if not 1 <= wanted <= len(benchmark.samples):
        raise UsageError(f"{benchmark.name} has {len(benchmark.samples)} items; a subset of {wanted} is impossible")
    ranked = sorted(benchmark.samples, key=lambda sample: hashlib.sha256(f"{seed}:{sample.id}".encode()).digest())
    return _interleave(ranked, benchmark.stratum)[:wanted]


def _interleave(ranked: Sequence[Sample], stratum: str | None) -> tuple[Sample, ...]:
    """Order samples so that every prefix holds the strata in their shares of the whole, as closely as can be."""
    if stratum is None:
        return tuple(ranked)
    sizes = collections.Counter(str(sample.metadata.get(stratum)) for sample in ranked)
    seen: collections.Counter[str] = collections.Counter()
    keyed = []
    for position, sample in enumerate(ranked):
        value = str(sample.metadata.get(stratum))
        keyed.append(((seen[value] + 0.5) / sizes[value], position, sample))
        seen[value] += 1
    return tuple(sample for _, _, sample in sorted(keyed, key=lambda entry: entry[:2]))
