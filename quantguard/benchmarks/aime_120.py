r"""AIME of 2022 to 2025, the 120 problems of eight contests: each answer is an integer from 0 to 999 in ``\boxed{}``.

The problems are (c) Mathematical Association of America, without an open licence: they come from a file of yours alone.
"""

from quantguard.benchmarks import _data_files
from quantguard.benchmarks._benchmark import Benchmark, mathematics
from quantguard.benchmarks._data_files import Origin
from quantguard.records import MissingRequirement, Sample

DESCRIPTION = "invitational contests of 2022 to 2025, integers from 0 to 999"
LICENCE = "(c) MAA, no open licence"
ORIGIN = Origin(
    file="aime120/test.jsonl",
    fields=("id", "year", "problem", "answer"),
    sha256="703a5f2fd2bc39a0974b523bd1205504fe21378e12e51d7914307a0cebe2d98d",
    where="the contests' publisher, one JSON object a line with id (2022-I-01), year, problem and answer",
)


def missing() -> list[MissingRequirement]:
    """Return what a run would lack here."""
    return _data_files.missing(ORIGIN)


def load() -> Benchmark:
    """Read the 120 items; raises DataError without them."""
    return mathematics(
        name="aime-120",
        description=DESCRIPTION,
        licence=LICENCE,
        samples=tuple(_sample(row) for row in _data_files.read(ORIGIN)),
        max_new_tokens=32_768,
        default_subset=120,
        stratum="year",
    )


def _sample(row: _data_files.Row) -> Sample:
    return Sample(id=row["id"], input=row["problem"], target=row["answer"], metadata={"year": row["year"]})
