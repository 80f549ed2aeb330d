"""Every recipe on real pretrained weights: what it costs in fidelity and tasks, time and memory, beside nearest.

python tests/studies/methods.py --wikitext wiki.test.raw.txt          # the table of methods.md, about two hours
python tests/studies/methods.py --layers 2 --samples 2 --only w8a8    # a sample

Each row is a process of its own. Calibration is Python's documentation; what is evaluated is a part of it that
calibration never saw, and WikiText, a domain that it never saw, if a file is given. The tasks are sums of two digits
after five examples (100) and one-line Python functions (40), both as plain completions.
"""

import argparse
import dataclasses
import json
import pathlib
import resource
import subprocess
import sys
import time

import _completions
import torch

import quantguard
from quantguard.benchmarks import text_fidelity
from quantguard.modeling import LoadedModel
from quantguard.modeling.comparing import compare_logits
from quantguard.recipes import load_recipe
from quantguard.records import CalibrationArgs, QuantArgs, Recipe

WINDOW = 512
NUM_WINDOWS = 4
FULL_PRECISION = "full precision"


def group(num_bits: int, *, symmetric: bool) -> QuantArgs:
    """SmolLM2 is 576 wide: groups of 64 divide it where the recipes' 128 do not."""
    return QuantArgs(num_bits=num_bits, strategy="group", group_size=64, symmetric=symmetric)


def plain(name: str, weights: QuantArgs) -> Recipe:
    """Round to nearest, activations in floating point."""
    return Recipe(name=name, weights=weights)


def rotation_alone(name: str) -> Recipe:
    """Leave SmoothQuant out of a recipe of the openPangu study."""
    return dataclasses.replace(load_recipe(name), name=f"{name}, rotation alone", transforms=("hadamard",), options={})


def rows() -> dict[str, Recipe | None]:
    """Return what is measured, in the order of the table; None is full precision."""
    quarot = load_recipe("quarot-w4a4kv4")
    unprotected = dataclasses.replace(quarot, transforms=(), rounding="nearest", options={})
    listed = [
        load_recipe("w8a8"),
        load_recipe("smoothquant-w8a8"),
        dataclasses.replace(load_recipe("quarot-w8a8kv8"), name="w8a8kv8 nearest", transforms=()),
        *map(load_recipe, ("smoothquant-w8a8kv8", "smoothquant-w8a8kv8-static", "quarot-w8a8kv8", "openpangu-w8a8")),
        rotation_alone("openpangu-w8a8"),
        load_recipe("flatquant-w8a8kv8"),
        load_recipe("w4a8"),
        load_recipe("openpangu-w4a8"),
        rotation_alone("openpangu-w4a8"),
        plain("w4a16 g64 nearest", group(4, symmetric=True)),
        dataclasses.replace(load_recipe("gptq-w4a16"), name="gptq-w4a16 g64", weights=group(4, symmetric=True)),
        plain("w4a16 g64 asymmetric nearest", group(4, symmetric=False)),
        dataclasses.replace(load_recipe("awq-w4a16"), name="awq-w4a16 g64", weights=group(4, symmetric=False)),
        load_recipe("quip-w4a16"),
        plain("w3a16 g64 nearest", group(3, symmetric=True)),
        dataclasses.replace(load_recipe("gptq-w3a16"), name="gptq-w3a16 g64", weights=group(3, symmetric=True)),
        plain("w3a16 g64 asymmetric nearest", group(3, symmetric=False)),
        dataclasses.replace(load_recipe("awq-w3a16"), name="awq-w3a16 g64", weights=group(3, symmetric=False)),
        plain("w2a16 nearest", QuantArgs(num_bits=2, strategy="channel", symmetric=False)),
        load_recipe("quip-w2a16"),
        dataclasses.replace(unprotected, name="w4a4kv4 nearest"),
        quarot,
        *map(load_recipe, ("spinquant-w4a4kv4", "ostquant-w4a4kv4", "flatquant-w4a4kv4", "flatquant-w4a4kv4-npu")),
    ]
    return {FULL_PRECISION: None, **{recipe.name: recipe for recipe in listed}}


def main() -> None:
    """Print the table as Markdown, or with --one a single row's figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wikitext", type=pathlib.Path)
    parser.add_argument("--samples", type=int, default=64, help="calibration windows; learned methods take a quarter")
    parser.add_argument("--layers", type=int, help="only so many layers of the model, for a quick look")
    parser.add_argument("--only", nargs="+", choices=list(rows()), metavar="ROW", default=list(rows()))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args)))
        return
    print(f"torch {torch.__version__}, {args.threads} threads, calibration {args.samples} x {WINDOW} tokens\n")
    print("| recipe | seconds | peak GB | docs ppl | KL | top-1 | other ppl | KL | top-1 | sums | functions |")
    print("|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for name in args.only:
        print(f"| {name} | {row(name)} |", flush=True)


def row(name: str) -> str:
    """Measure one row in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--one", name]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        return f"failed: {finished.stderr.strip().splitlines()[-1]}"
    found = json.loads(finished.stdout.splitlines()[-1])
    cells = [f"{found['seconds']:.0f}", f"{found['peak_gb']:.1f}"]
    for text in ("docs", "other"):
        figures = found.get(text)
        cells += (
            ["-"] * 3
            if figures is None
            else [f"{figures['perplexity']:.2f}", f"{figures['kl']:.4f}", f"{figures['top1_agreement']:.3f}"]
        )
    return " | ".join([*cells, *(f"{found[task]:.0f}" for task in ("addition", "python"))])


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Quantize, and compare with full precision on both texts."""
    torch.set_num_threads(args.threads)
    model = quantguard.load("smollm2-135m")
    if args.layers:
        model.model.model.layers = model.model.model.layers[: args.layers]
        model.model.config.num_hidden_layers = args.layers
    started = time.monotonic()
    recipe = rows()[args.one]
    quantized = model if recipe is None else quantguard.quantize(model, with_calibration(recipe, args.samples))
    seconds = time.monotonic() - started
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    found: dict[str, object] = {"seconds": seconds, "peak_gb": peak_gb}
    docs = text_fidelity.token_sequences(model.tokenizer, text_fidelity.load().samples)
    found["docs"] = compare_logits(quantized, model, docs)
    if args.wikitext:
        found["other"] = compare_logits(quantized, model, windows(model, args.wikitext))
    return found | _completions.scores(quantized)


def with_calibration(recipe: Recipe, samples: int) -> Recipe:
    """Learned transforms run the text many times over: they get a quarter of it."""
    learned = {"spinquant", "ostquant", "flatquant"} & set(recipe.transforms)
    count = max(1, samples // 4) if learned else samples
    calibration = CalibrationArgs(dataset="python-docs", num_samples=count, max_length=WINDOW, precision="bfloat16")
    return dataclasses.replace(recipe, calibration=calibration)


def windows(model: LoadedModel, path: pathlib.Path) -> list[list[int]]:
    """Return the first windows of a text file, as tokens."""
    text = path.read_text(encoding="utf-8")[:40_000]
    ids: list[int] = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    return [ids[start : start + WINDOW] for start in range(0, NUM_WINDOWS * WINDOW, WINDOW)]


if __name__ == "__main__":
    main()
