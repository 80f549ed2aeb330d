"""LiveCodeBench (Jain et al., arXiv 2403.07974): contest problems with their dates, as functions or whole programs.

The file is one of the releases of ``code_generation_lite``, or rows of it that you chose, such as those of contests
after a model was trained: every sample has its contest_date. No hash of the content is pinned here, as none of the
releases could be had when this was written; a run's fingerprint has that of yours. Prompts are LiveCodeBench's own.
A file of a gigabyte, most of which are packed tests, stays in memory.
"""

import json
from typing import Any

from quantguard.benchmarks import _code_benchmark, _data_files
from quantguard.benchmarks._benchmark import Benchmark
from quantguard.benchmarks._data_files import Origin
from quantguard.errors import DataError
from quantguard.records import MissingRequirement, Sample
from quantguard.scorers.code import cases_of

DESCRIPTION = (
    "contest problems of three difficulties with their dates; which ones is your file's choice, no hash is pinned"
)
LICENCE = "cc (variant not stated), texts of Codeforces, AtCoder and LeetCode"
ORIGIN = Origin(
    file="livecodebench/problems.jsonl",
    fields=(
        "question_id",
        "question_content",
        "starter_code",
        "platform",
        "difficulty",
        "contest_date",
        "public_test_cases",
        "private_test_cases",
        "metadata",
    ),
    sha256=None,
    where="https://huggingface.co/datasets/livecodebench/code_generation_lite (test*.jsonl)",
)
_DEFAULT_SUBSET = 300
_TASK = (
    "You will be given a question (problem specification) and will generate a correct Python program that matches the"
    " specification and passes all tests.\n\n### Question:\n{question}\n\n### Format: "
)
_FUNCTION = (
    "You will use the following starter code to write the solution to the problem and enclose your code within"
    " delimiters.\n```python\n{starter}\n```\n\n### Answer: (use the provided format with backticks)\n"
)
_PROGRAM = (
    "Read the inputs from stdin solve the problem and write the answer to stdout (do not directly test on the sample"
    " inputs). Enclose your code within delimiters as follows. Ensure that when the python program runs, it reads the"
    " inputs, runs the algorithm and writes output to STDOUT.\n```python\n# YOUR CODE HERE\n```\n\n### Answer: (use the"
    " provided format with backticks)\n"
)
# What LiveCodeBench puts before every program.
_MODULES = (
    "string re datetime collections heapq bisect copy math random statistics itertools functools operator io sys json"
)
_BEFORE = "\n".join(
    [
        *(f"from {name} import *" for name in [*_MODULES.split(), "builtins", "typing"]),
        *(f"import {name}" for name in _MODULES.split()),
        "sys.setrecursionlimit(50000)",
    ]
)


def missing() -> list[MissingRequirement]:
    """Return what a run would lack here."""
    return _code_benchmark.missing(ORIGIN)


def load() -> Benchmark:
    """Read the items of your file; raises DataError without one, and SandboxError where programs cannot be run."""
    samples = tuple(_sample(row) for row in _data_files.read(ORIGIN))
    return _code_benchmark.programs(
        name="livecodebench",
        description=DESCRIPTION,
        licence=LICENCE,
        samples=samples,
        default_subset=min(_DEFAULT_SUBSET, len(samples)),
        stratum="difficulty",
    )


def _sample(row: _data_files.Row) -> Sample:
    strange = [name for name in ORIGIN.fields if not isinstance(row[name], str)]
    if strange or not row["question_id"]:
        raise DataError(f"LiveCodeBench {row['question_id']!r}: {', '.join(strange) or 'question_id'} is no text")
    starter = row["starter_code"].strip()
    ending = _FUNCTION.format(starter=starter) if starter else _PROGRAM
    sample = Sample(
        id=row["question_id"],
        input=_TASK.format(question=row["question_content"]) + ending,
        metadata={
            **{name: row[name] for name in ("platform", "difficulty", "contest_date")},
            "function": _function(row) if starter else None,
            "before": _BEFORE,
            "cases": row["public_test_cases"],
            "packed_cases": row["private_test_cases"],
        },
    )
    # Better now than after hours of generation.
    cases_of(sample)
    return sample


def _function(row: _data_files.Row) -> str:
    """Return the call by which tests reach the method that the starter code begins."""
    try:
        metadata: Any = json.loads(row["metadata"])
        name = metadata["func_name"]
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"LiveCodeBench {row['question_id']}: starter code without func_name in its metadata: {error!r}"
        ) from error
    if not isinstance(name, str) or not name.isidentifier():
        raise DataError(f"LiveCodeBench {row['question_id']}: func_name is {name!r}, which is no name")
    return f"Solution().{name}"
