"""What a gate costs beside the answers that it asks for: judging, keeping, and reporting them, as a share.

python tests/studies/overhead.py                        # the table of overhead.md
python tests/studies/overhead.py --items 5 --rounds 1   # a sample

An accuracy gate of tiny-reasoner in w8a8 with a stored baseline, answers kept in a store as pytest keeps them, no early
stopping, and a report of its result, on one thread as pytest has it. Generation is the time inside the engine. Answers
are scored in a thread of their own while the engine runs; the seconds of that have a column. The first round has in it
what a process does once, such as reading the items and compiling templates.
"""

import argparse
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from quantguard import pipeline, registry
from quantguard.baselines import Acceptance, baseline_from_runs, baseline_path, write
from quantguard.engines import transformers as engine
from quantguard.gates import accuracy
from quantguard.pipeline import GenerationStore, PipelineSession, RunState
from quantguard.pipeline.in_process import InProcess
from quantguard.report import output_files
from quantguard.run_options import RunOptions
from quantguard.scorers import boxed

RECIPE, BENCHMARK = "w8a8", "word-problems"


class Clock:
    """Adds up the seconds that a function takes."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - started

        return run


@contextmanager
def clocks() -> Iterator[tuple[Clock, Clock]]:
    """Time the engine and the scorer."""
    generating, scoring = Clock(), Clock()
    generate, score = engine.generate, boxed.score
    engine.generate, boxed.score = generating.timed(generate), scoring.timed(score)
    try:
        yield generating, scoring
    finally:
        engine.generate, boxed.score = generate, score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)  # as pytest has it
    model = pipeline.load("tiny-reasoner")
    quantized = pipeline.quantize(model, RECIPE)
    records = [pipeline.evaluate(m, BENCHMARK, subset=options.items) for m in (quantized, model)]
    baseline = baseline_from_runs(records[0], records[1].scores, Acceptance(by="the study", on="2026-01-01", why="it"))
    rows = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch)
            path = baseline_path(folder, platform="cpu", model=model.name, recipe=RECIPE, benchmark=BENCHMARK)
            write(path, baseline)
            rows.append(one(folder, quantized, model))
    print(f"| {options.items} items, round | in the engine, s | all else of gate and report, s | share | scores, s |")
    print("|---|---|---|---|---|")
    for index, (generating, beside, scoring) in enumerate(rows, 1):
        print(f"| {index} | {generating:.2f} | {beside:.3f} | {beside / generating:.1%} | {scoring:.3f} |")
    print(f"\nMedian share: {statistics.median(beside / generating for generating, beside, _ in rows):.2%}")


def one(folder: pathlib.Path, quantized: Any, model: Any) -> tuple[float, float, float]:
    """Return the seconds in the engine, of everything else, and in the scorer."""
    options = RunOptions(baselines=folder, early_stop="off", inconclusive="warn")
    state = RunState(store=GenerationStore(folder / "generations", fresh=True))
    session = PipelineSession(InProcess(quantized), InProcess(model), options, state)
    gate = accuracy.Gate(benchmark=BENCHMARK, tol=0.045)
    with clocks() as (generating, scoring):
        started = time.perf_counter()
        result = registry.gates["accuracy"].check(gate, session)
        output_files.write_all(folder / "report", [("test_release", result)])
        whole = time.perf_counter() - started
    assert result.verdict.outcome in ("PASS", "INCONCLUSIVE"), result.verdict
    return generating.seconds, whole - generating.seconds, scoring.seconds


if __name__ == "__main__":
    main()
