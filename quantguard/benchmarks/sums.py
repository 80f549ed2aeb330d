"""Sums of two numbers up to 20, for small instruction-tuned models that can do no more.

What is 4 + 12? Answer with the number only.
"""

from quantguard.benchmarks._benchmark import Benchmark
from quantguard.records import Sample

_LARGEST = 20


def load() -> Benchmark:
    """Make the 400 items."""
    numbers = range(1, _LARGEST + 1)
    return Benchmark(
        name="sums",
        description="sums of two numbers up to 20, for small instruction-tuned models",
        licence="Apache-2.0",
        task="generate",
        samples=tuple(_sample(left, right) for left in numbers for right in numbers),
        scorer="numbers",
        instruction="Answer with the number only.",
        max_new_tokens=64,
        default_subset=100,
        stratum="carries",
    )


def _sample(left: int, right: int) -> Sample:
    carries = left % 10 + right % 10 > 9
    return Sample(
        id=f"{left}+{right}",
        input=f"What is {left} + {right}?",
        target=str(left + right),
        metadata={"carries": carries},
    )
