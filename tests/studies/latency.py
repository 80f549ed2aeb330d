"""Latency gates on a busy machine: how often they are wrong where nothing changed, and find a planted slow-down.

python tests/studies/latency.py                          # the first table of latency.md, at the mercy of all else
python tests/studies/latency.py --nice -15               # the second: before all else on this machine (as root)
python tests/studies/latency.py --runs 2 --stages prefill --without-busy-loop   # a sample

A process spins on the machine's last core all the while. Every run is what the gate does, from the warm-up to the
verdict, on one thread. The slow candidate is the same model, which spins after each call for 15 % of the processor time
that this call took, so that its speed-up is 1 / 1.15 = 0.87 whatever the load.
"""

import argparse
import collections
import contextlib
import dataclasses
import os
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import torch
from scipy import stats

import quantguard
from quantguard.gates import Session
from quantguard.gates.latency import Gate, decide
from quantguard.measures import Models, timing
from quantguard.modeling import LoadedModel
from quantguard.pipeline.progress import silent

NUM_TOKENS = 64
SLOWER = 0.15
OUTCOMES = ("PASS", "REGRESSED", "INCONCLUSIVE", "UNSTABLE")


class Case(NamedTuple):
    """What is timed against full precision, and the speed-up that the gate asks for."""

    name: str
    slower: float
    min_speedup: float


CASES = (
    Case("the same model, 5 % tolerated", 0.0, 0.95),
    Case("15 % slower, 5 % tolerated", SLOWER, 0.95),
)


class Slower:
    """A model whose every call is followed by a spin of a share of its own processor time."""

    def __init__(self, model: Any, share: float) -> None:
        self._model, self._share = model, share

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # The thread's own time: by the clock on the wall a spin would take more of a busy processor than the call does.
        started = time.thread_time()
        answer = self._model(*args, **kwargs)
        end = started + (time.thread_time() - started) * (1 + self._share)
        while time.thread_time() < end:
            pass
        return answer


class Run(NamedTuple):
    """One run of a gate."""

    outcome: str
    num_blocks: int
    speedup: float
    seconds: float
    load: float
    reason: str


@contextlib.contextmanager
def busy_loop() -> Iterator[None]:
    """Keep the last core busy."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
            yield
        finally:
            process.kill()


def run_once(model: LoadedModel, stage: str, case: Case) -> Run:
    """Let a gate decide once."""
    candidate = dataclasses.replace(model, model=Slower(model.model, case.slower)) if case.slower else model
    models = Models(candidate=candidate, reference=model, progress=silent)
    session = types.SimpleNamespace(
        measure=lambda _kind, **settings: timing.measure(
            models, stage=settings["stage"], num_tokens=settings["num_tokens"]
        )
    )
    gate = Gate(stage=cast(Any, stage), min_speedup=case.min_speedup, num_tokens=NUM_TOKENS)
    started = time.perf_counter()
    verdict, blocks = decide(gate, cast(Session, session))
    assert verdict.delta is not None
    seconds = time.perf_counter() - started
    return Run(verdict.outcome, len(blocks), verdict.delta, seconds, os.getloadavg()[0], verdict.reason)


def row(stage: str, case: Case, runs: list[Run]) -> str:
    """Return a line of the table: every rate with its exact 95 % interval."""
    counts = collections.Counter(run.outcome for run in runs)
    cells = []
    for outcome in OUTCOMES:
        found = stats.binomtest(counts[outcome], len(runs)).proportion_ci(0.95, method="exact")
        cells.append(f"{counts[outcome]} ({found.low:.1%} to {found.high:.1%})")
    speedups, loads = [run.speedup for run in runs], [run.load for run in runs]
    return (
        f"| {stage} | {case.name} | {len(runs)} | {' | '.join(cells)} | {statistics.median(speedups):.3f}"
        f" ({min(speedups):.3f} to {max(speedups):.3f}) | {statistics.median(run.num_blocks for run in runs):.0f}"
        f" | {statistics.median(run.seconds for run in runs):.1f} | {min(loads):.1f} to {max(loads):.1f} |"
    )


def main() -> None:
    """Run all cases in turn, so that none has the quiet hour to itself, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--stages", nargs="+", choices=("prefill", "decode"), default=["prefill", "decode"])
    parser.add_argument("--without-busy-loop", action="store_true")
    parser.add_argument("--nice", type=int, default=0, help="added to the niceness of the measuring process")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = quantguard.load("tiny-reasoner")
    found: dict[tuple[str, Case], list[Run]] = collections.defaultdict(list)
    with contextlib.nullcontext() if args.without_busy_loop else busy_loop():
        # After the busy loop was started, which goes no further before others than anything else.
        os.nice(args.nice)
        for number in range(args.runs):
            for stage in args.stages:
                for case in CASES:
                    run = run_once(model, stage, case)
                    found[stage, case].append(run)
                    print(number, stage, case.name, *run, file=sys.stderr, flush=True)
    print(
        "| stage | candidate | runs | PASS | REGRESSED | INCONCLUSIVE | UNSTABLE | speed-up, median (range)"
        " | blocks, median | seconds, median | load average |"
    )
    print("|---" * 11 + "|")
    for (stage, case), runs in found.items():
        print(row(stage, case, runs))


if __name__ == "__main__":
    main()
