r"""GSM8K (Cobbe et al., arXiv 2110.14168): grade-school word problems, answered by a number in ``\boxed{}``.

The right answer follows ``####`` in the solution; the number of its ``<<...>>`` calculations are the steps.
"""

import hashlib

from quantguard.benchmarks import _data_files
from quantguard.benchmarks._benchmark import Benchmark, mathematics
from quantguard.benchmarks._data_files import Origin
from quantguard.records import MissingRequirement, Sample

DESCRIPTION = "grade-school word problems of 1 to 8 calculations"
LICENCE = "MIT, (c) 2021 OpenAI"
ORIGIN = Origin(
    file="gsm8k/test.jsonl",
    fields=("question", "answer"),
    sha256="9b2ba9c78c2427763ce2d5995cb7c9170f67ed90449b9dfcf71f734d2ecb0a66",
    where="https://github.com/openai/grade-school-math (grade_school_math/data/test.jsonl)",
    hub="openai/gsm8k",
    config="main",
)


def missing() -> list[MissingRequirement]:
    """Return what a run would lack here."""
    return _data_files.missing(ORIGIN)


def load() -> Benchmark:
    """Read the 1,319 items; raises DataError without them."""
    return mathematics(
        name="gsm8k",
        description=DESCRIPTION,
        licence=LICENCE,
        samples=tuple(_sample(row) for row in _data_files.read(ORIGIN)),
        max_new_tokens=4096,
        default_subset=300,
        stratum="steps",
    )


def _sample(row: _data_files.Row) -> Sample:
    target = row["answer"].rpartition("####")[2].strip().replace(",", "")
    # Not the row's number, which the order of a copy would change.
    name = hashlib.sha256(row["question"].encode()).hexdigest()[:12]
    return Sample(id=name, input=row["question"], target=target, metadata={"steps": row["answer"].count("<<")})
