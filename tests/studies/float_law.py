"""What holding the float law costs, as a share of quantization, and how far healthy transforms stay below its limits.

python tests/studies/float_law.py                              # tiny-reasoner's rows of float_law.md
python tests/studies/float_law.py --model smollm2-135m --dtypes float32 --rounds 1   # those of a pretrained model

Calibration is the model's own on tiny-reasoner, and 64 windows of 512 tokens of Python's documentation on the other, as
in methods.md. Seconds are the process's own on the CPU, which other processes add little to; the share is the smallest
of the rounds, whose work is the same.
"""

import argparse
import collections
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import torch

import quantguard
from quantguard.modeling import LoadedModel
from quantguard.pipeline import float_law
from quantguard.recipes import load_recipe
from quantguard.records import CalibrationArgs, Recipe

QUICK = ("smoothquant-w8a8", "openpangu-w8a8", "awq-w4a16", "quarot-w4a4kv4")
STEPS = ("__init__", "prepared", "ends_stored", "untouched", "applied", "stored", "finish")


class Meter:
    """Adds up the seconds of the law, and keeps the largest error against each kind of limit."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.errors: dict[float, float] = collections.defaultdict(float)
        for name in STEPS:
            setattr(float_law.FloatLaw, name, self._timed(getattr(float_law.FloatLaw, name)))
        self._require = float_law._require
        float_law._require = self._noted

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **more: Any) -> Any:
            started = time.process_time()
            result = function(*args, **more)
            self.seconds += time.process_time() - started
            return result

        return run

    def _noted(self, place: str, name: str, error: float, limit: float, dtype: torch.dtype) -> None:
        self.errors[limit] = max(self.errors[limit], error)
        self._require(place, name, error, limit, dtype)


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-reasoner")
    parser.add_argument("--recipes", nargs="+", metavar="RECIPE", default=QUICK)
    parser.add_argument("--dtypes", nargs="+", metavar="DTYPE", default=("float32", "bfloat16", "float16"))
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    meter = Meter()
    print(f"torch {torch.__version__}, one thread, {args.rounds} rounds\n")
    print("| model | dtype | recipe | CPU seconds | of which the law | largest error (limit) |")
    print("|---|---|---|---|---|---|", flush=True)
    for dtype in args.dtypes:
        model = quantguard.load(args.model, dtype=dtype)
        for name in args.recipes:
            recipe = calibrated(load_recipe(name), args.model)
            seconds, share, errors = best(model, recipe, meter, args.rounds)
            cells = ", ".join(f"{error:.1e} ({limit:.0e})" for limit, error in sorted(errors.items()))
            print(f"| {args.model} | {dtype} | `{name}` | {seconds:.1f} | {share:.2%} | {cells} |", flush=True)


def calibrated(recipe: Recipe, model: str) -> Recipe:
    """Give a recipe the calibration text of the study."""
    if model == "tiny-reasoner":
        return recipe
    args = CalibrationArgs(dataset="python-docs", num_samples=64, max_length=512, precision="bfloat16")
    return dataclasses.replace(recipe, calibration=args)


def best(model: LoadedModel, recipe: Recipe, meter: Meter, rounds: int) -> tuple[float, float, dict[float, float]]:
    """Return the seconds and the law's share of the round in which that was smallest, and the largest errors."""
    found = []
    meter.errors.clear()
    for _ in range(rounds):
        meter.seconds, started = 0.0, time.process_time()
        quantguard.quantize(model, recipe)
        seconds = time.process_time() - started
        found.append((meter.seconds / seconds, seconds))
    share, seconds = min(found)
    return seconds, share, dict(meter.errors)


if __name__ == "__main__":
    main()
