"""MBPP (Austin et al., arXiv 2108.07732): the 500 short Python programs of its test split, ids 11 to 510.

The prompt is that of the paper without its examples, and shows the tests, which name the function; it asks for one
Python block. An item whose setup builds objects of the program's own class (367) has it run behind the program, and its
tests ask there for the values that they compare.
"""

import ast
import builtins

from quantguard.benchmarks import _code_benchmark, _data_files
from quantguard.benchmarks._benchmark import Benchmark
from quantguard.benchmarks._data_files import Origin
from quantguard.errors import DataError
from quantguard.records import MissingRequirement, Sample

DESCRIPTION = "short Python programs from a sentence and three tests"
LICENCE = "CC BY 4.0, (c) Google Research"
ORIGIN = Origin(
    file="mbpp/mbpp.jsonl",
    fields=("task_id", "text", "test_setup_code", "test_list"),
    sha256="c36ce892f869c345d36ec6b692ddccc4be21499c6716057812e6a781f0caaf02",
    where="https://github.com/deepseek-ai/DeepSeek-Coder (Evaluation/MBPP/data/mbpp.jsonl), all 974 rows",
)
_TEST_SPLIT = range(11, 511)
_INSTRUCTION = "Answer with the program in one Python code block (```python ... ```), without the tests."


def missing() -> list[MissingRequirement]:
    """Return what a run would lack here."""
    return _code_benchmark.missing(ORIGIN)


def load() -> Benchmark:
    """Read the 500 items; raises DataError without them, and SandboxError where programs cannot be run."""
    return _code_benchmark.programs(
        name="mbpp",
        description=DESCRIPTION,
        licence=LICENCE,
        samples=tuple(_sample(row) for row in _data_files.read(ORIGIN) if row["task_id"] in _TEST_SPLIT),
        instruction=_INSTRUCTION,
        default_subset=300,
    )


def _sample(row: _data_files.Row) -> Sample:
    shown = "\n".join(row["test_list"])
    name = _function(shown, row["task_id"])
    setup = row["test_setup_code"]
    return Sample(
        id=str(row["task_id"]),
        input=f"You are an expert Python programmer, and here is your task: {row['text'].strip()}"
        f" Your code should pass these tests:\n\n{shown}\n",
        metadata={"targets": {name: name}, "behind": setup, "tests": _evaluated(shown) if setup else shown},
    )


def _function(tests: str, task: int) -> str:
    """Return the function that tests call: the outermost one that is not Python's own, or else the outermost."""
    functions = [node.func for node in ast.walk(ast.parse(tests)) if isinstance(node, ast.Call)]
    names = [function.id for function in functions if isinstance(function, ast.Name)]
    if not names:
        raise DataError(f"the tests of MBPP {task} call no function")
    return next((name for name in names if not hasattr(builtins, name)), names[0])


def _evaluated(tests: str) -> str:
    """Return asserted comparisons with their left sides as texts, which are evaluated in the program's module."""
    lines = []
    for statement in ast.parse(tests).body:
        assert isinstance(statement, ast.Assert)
        assert isinstance(statement.test, ast.Compare)
        comparison = statement.test
        text = ast.Constant(ast.unparse(comparison.left))
        comparison.left = ast.Call(ast.Name("evaluated"), [text], [])
        lines.append(ast.unparse(statement))
    return "\n".join(lines)
