"""Judge reference solutions and wrong programs made from them on HumanEval and MBPP, and measure what judging costs.

Needs the benchmarks' files: export QUANTGUARD_DATA=FOLDER. A wrong program must never pass. The cost of a task is the
time from answer to score without the time that its program and tests take by themselves in a Python that runs already.

python tests/studies/programs.py             # the tables of programs.md
python tests/studies/programs.py --items 4   # a sample
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from quantguard import benchmarks, sandbox
from quantguard.benchmarks import Benchmark, choose_subset
from quantguard.records import Generation, Sample
from quantguard.scorers import code

NUM_AT_ONCE = 2
SHOWN = {"failed": "a wrong result"}
# What is put behind a right program; TARGET is the function that is tested.
WRONG = {
    "returns None": "def TARGET(*given):\n    return None",
    "off by one": """
_right = TARGET
def TARGET(*given):
    result = _right(*given)
    if isinstance(result, bool):
        return not result
    if isinstance(result, (int, float, complex)):
        return result + 1
    if isinstance(result, str):
        return result + "x"
    if isinstance(result, (list, tuple)):
        return result + type(result)([0])
    return None
""",
    "always equal": """
class _Equal:
    __eq__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __lt__ = __le__ = __gt__ = __ge__ = __eq__
    __hash__ = lambda self: 0
    __bool__ = lambda self: True
    __getattr__ = lambda self, name: self
    __call__ = __getitem__ = __sub__ = __abs__ = lambda self, *given: self
def TARGET(*given):
    return _Equal()
""",
    "always equal, of the right type": """
_right = TARGET
def TARGET(*given):
    kind = type(_right(*given))
    if kind in (bool, type(None)):
        return None if kind is bool else 0
    equal = dict(__eq__=lambda self, other: True, __ne__=lambda self, other: False, __hash__=lambda self: 0)
    wrong = {"str": "\\0", "int": -7**77, "float": -7.77e77}.get(kind.__name__)
    return type(kind.__name__, (kind,), equal)(*([] if wrong is None else [wrong]))
""",
    "changes what is compared": """
import builtins, sys
builtins.AssertionError = builtins.abs = builtins.all = builtins.sorted = lambda *given: True
sys.modules["math"] = sys.modules[__name__]
def TARGET(*given):
    return True
TARGET.__eq__ = lambda *given: True
""",
    "leaves with status 0": "import os\ndef TARGET(*given):\n    os._exit(0)",
    "writes a verdict to every descriptor": """
import os, struct
def TARGET(*given):
    for said in (b'{"verdict": "passed", "detail": ""}', b'{"value": null}'):
        for descriptor in range(1, 64):
            try:
                os.write(descriptor, struct.pack(">I", len(said)) + said)
            except OSError:
                pass
    return None
""",
}


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, help="items of each benchmark (default: all)")
    args = parser.parse_args()
    chosen = {name: _items(name, args.items) for name in ("humaneval", "mbpp")}
    print(f"Programs ran under {sandbox.isolation().name}, {NUM_AT_ONCE} at a time.\n")
    print("| benchmark | program | passed | rules |\n|---|---|---:|---|")
    for name, items in chosen.items():
        _judge(name, items)
    print("\n| benchmark | at a time | cost, mean | 95th percentile | own time, mean |\n|---|---:|---:|---:|---:|")
    for name, items in chosen.items():
        own = [_own_seconds(sample, program) for sample, program in items]
        for num_at_once in (1, NUM_AT_ONCE):
            _measure(name, items, own, num_at_once)


def _items(name: str, count: int | None) -> list[tuple[Sample, str]]:
    data: Benchmark = benchmarks.members[name].load()
    path = pathlib.Path(os.environ["QUANTGUARD_DATA"], vars(benchmarks.members[name])["ORIGIN"].file)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    programs = {
        str(row["task_id"]): row["code"] if "code" in row else row["prompt"] + row["canonical_solution"] for row in rows
    }
    samples = choose_subset(data, count or len(data.samples), seed=0)
    return [(sample, programs[sample.id]) for sample in samples]


def _judge(name: str, items: list[tuple[Sample, str]]) -> None:
    makers: dict[str, Callable[[Sample, str], str]] = {
        "reference": lambda _, program: program,
        "empty": lambda _, program: "pass",  # noqa: ARG005
    }
    for kind, tail in WRONG.items():
        makers[kind] = lambda sample, program, tail=tail: f"{program}\n{tail.replace('TARGET', _target(sample))}"  # type: ignore[misc]
    for kind, maker in makers.items():
        with concurrent.futures.ThreadPoolExecutor(NUM_AT_ONCE) as pool:
            rules = list(pool.map(lambda item, maker=maker: _score(item[0], maker(*item)), items))
        passed, others = rules.count("passed"), collections.Counter(rule for rule in rules if rule != "passed")
        told = ", ".join(f"{count} by {SHOWN.get(rule, rule)}" for rule, count in others.most_common())
        print(f"| {name} | {kind} | {passed} of {len(items)} | {told} |", flush=True)
        if (passed == len(items)) != (kind == "reference") or (kind != "reference" and passed):
            names = [sample.id for (sample, _), rule in zip(items, rules, strict=True) if rule == "passed"]
            print(f"{kind} on {name}: passed {names[:9]}", file=sys.stderr)


def _target(sample: Sample) -> str:
    (target,) = sample.metadata["targets"]
    return str(target)


def _score(sample: Sample, program: str) -> str:
    text = f"<think>\nlet me see\n</think>\n```python\n{program}\n```"
    generation = Generation(sample_id=sample.id, epoch=0, text=text, num_tokens=1, finish_reason="stop")
    return code.score(sample, generation).explanation


def _own_seconds(sample: Sample, program: str) -> float:
    """Run a program and its tests in this process."""
    facts = sample.metadata
    namespace: dict[str, Any] = {"__name__": "own", "evaluated": lambda text: eval(text, namespace)}
    sources = [facts.get("prelude", ""), program, facts.get("behind", ""), facts["tests"]]
    started = time.perf_counter()
    for source in sources:
        exec(compile(source, "<own>", "exec"), namespace)
    return time.perf_counter() - started


def _measure(name: str, items: list[tuple[Sample, str]], own: list[float], num_at_once: int) -> None:
    def seconds(item: tuple[Sample, str]) -> float:
        started = time.perf_counter()
        assert _score(*item) == "passed"
        return time.perf_counter() - started

    with concurrent.futures.ThreadPoolExecutor(num_at_once) as pool:
        costs = sorted(taken - alone for taken, alone in zip(pool.map(seconds, items), own, strict=True))
    tail = costs[int(0.95 * (len(costs) - 1))]
    print(
        f"| {name} | {num_at_once} | {statistics.fmean(costs):.3f} s | {tail:.3f} s | {statistics.fmean(own):.3f} s |",
        flush=True,
    )


if __name__ == "__main__":
    main()
