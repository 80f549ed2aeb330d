r"""MATH-500 (Hendrycks et al., arXiv 2103.03874; the 500 of Lightman et al., arXiv 2305.20050): competition problems.

Answers are LaTeX in ``\boxed{}``.
"""

from quantguard.benchmarks import _data_files
from quantguard.benchmarks._benchmark import Benchmark, mathematics
from quantguard.benchmarks._data_files import Origin
from quantguard.records import MissingRequirement, Sample

DESCRIPTION = "competition problems of five levels and seven subjects"
LICENCE = "MIT, (c) 2021 Dan Hendrycks"
ORIGIN = Origin(
    file="math500/test.jsonl",
    fields=("problem", "answer", "subject", "level", "unique_id"),
    sha256="dec73bebc62c5f8bbea68b941e9315110f030ae4087ba6083987a9831b8e8859",
    where="https://huggingface.co/datasets/HuggingFaceH4/MATH-500",
    hub="HuggingFaceH4/MATH-500",
)


def missing() -> list[MissingRequirement]:
    """Return what a run would lack here."""
    return _data_files.missing(ORIGIN)


def load() -> Benchmark:
    """Read the 500 items; raises DataError without them."""
    return mathematics(
        name="math-500",
        description=DESCRIPTION,
        licence=LICENCE,
        samples=tuple(_sample(row) for row in _data_files.read(ORIGIN)),
        max_new_tokens=32_768,
        default_subset=300,
        stratum="level",
    )


def _sample(row: _data_files.Row) -> Sample:
    return Sample(
        id=row["unique_id"],
        input=row["problem"],
        target=row["answer"],
        metadata={"level": row["level"], "subject": row["subject"]},
    )
