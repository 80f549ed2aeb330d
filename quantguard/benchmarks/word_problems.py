"""Generated word problems of one to five steps, the embedded default.

    Sue has 31 toys. Then Sue finds 22 more. Later Sue sells 47. How many toys are left with Sue?   →   6

The 1,200 items are fixed in ``word_problems.jsonl``, made by ``python -m quantguard.tiny_reasoner.items`` from the
side of the split that training never sees.
"""

import functools
import json
import pathlib

from quantguard.benchmarks._benchmark import Benchmark
from quantguard.records import Sample, from_json

_ITEMS = pathlib.Path(__file__).with_name("word_problems.jsonl")


@functools.cache
def load() -> Benchmark:
    """Read the items, once in a process."""
    lines = _ITEMS.read_text(encoding="utf-8").splitlines()
    return Benchmark(
        name="word-problems",
        description="arithmetic word problems of 1 to 5 steps",
        licence="Apache-2.0",
        task="generate",
        samples=tuple(
            from_json(Sample, json.loads(line), where=f"{_ITEMS.name}:{i}") for i, line in enumerate(lines, 1)
        ),
        scorer="boxed",
        max_new_tokens=224,
        default_subset=300,
        stratum="steps",
    )
