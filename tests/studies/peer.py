"""The same model, text and settings by llm-compressor: perplexity and time side by side, in turn, in one run.

python tests/studies/peer.py --wikitext wiki.test.raw.txt            # the tables of peer.md, about half an hour
python tests/studies/peer.py --layers 1 --samples 2 --rounds 1       # a sample

Needs an environment with both: pip install -e . llmcompressor==0.14.0.1. Every measurement is a process of its own, and
its seconds are those of the quantization call, without imports and loading. Both are evaluated by the same code on what
their own quantized model computes.
"""

import argparse
import dataclasses
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import torch

import quantguard
from quantguard import rounding, transforms
from quantguard.benchmarks import text_fidelity
from quantguard.calibration import members as calibration_sets
from quantguard.modeling import LoadedModel
from quantguard.modeling.comparing import compare_logits
from quantguard.recipes import load_recipe
from quantguard.records import CalibrationArgs, QuantArgs, Recipe

WINDOW = 512
# What the peer is asked for in its own words, by method: see peer_modifiers.
SAMPLES = {"gptq": 64, "awq": 8, "smoothquant": 64}
TOOLS = ("quantguard", "quantguard bf16", "llm-compressor")


def main() -> None:
    """Print the tables as Markdown, or with --one a single measurement as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wikitext", type=pathlib.Path, help="evaluate on the start of this text too")
    parser.add_argument("--methods", nargs="+", choices=list(SAMPLES), default=list(SAMPLES))
    parser.add_argument("--samples", type=int, help="calibration windows of 512 tokens (default: 64, for AWQ 8)")
    parser.add_argument("--layers", type=int, help="only so many layers of the model, for a quick look")
    parser.add_argument("--rounds", type=int, default=2, help="how often each is timed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=TOOLS)
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "TOOL"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args, *args.one)))
        return
    print(f"torch {torch.__version__}, {args.threads} threads, {args.rounds} rounds in turn, medians\n")
    print("| method | tool | calibration | seconds | peak GB | docs ppl | docs KL | other ppl | other KL |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for method in args.methods:
        rounds = [{tool: run(method, tool) for tool in args.tools} for _ in range(args.rounds)]
        for tool in args.tools:
            print(f"| {method} | {tool} | {args.samples or SAMPLES[method]} x {WINDOW} | {row(rounds, tool)} |")
        if "llm-compressor" in args.tools:
            print(f"{ratios(method, rounds)}\n", file=sys.stderr, flush=True)
        sys.stdout.flush()


def run(method: str, tool: str) -> dict[str, Any]:
    """Measure once in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--one", method, tool]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SystemExit(f"{method} by {tool} failed:\n{finished.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return found


def row(rounds: list[dict[str, dict[str, Any]]], tool: str) -> str:
    """Return the cells of one tool."""
    found = [measured[tool] for measured in rounds]
    seconds = statistics.median(f["seconds"] for f in found)
    cells = [f"{seconds:.1f}", f"{max(f['peak_gb'] for f in found):.1f}"]
    for text in ("docs", "other"):
        figures = found[0].get(text)
        cells += ["-"] * 2 if figures is None else [f"{figures['perplexity']:.3f}", f"{figures['kl']:.4f}"]
    return " | ".join(cells)


def ratios(method: str, rounds: list[dict[str, dict[str, Any]]]) -> str:
    """Return how many times as fast as the peer each of ours was, round by round."""
    parts = []
    for tool in rounds[0].keys() - {"llm-compressor"}:
        each = [measured["llm-compressor"]["seconds"] / measured[tool]["seconds"] for measured in rounds]
        parts.append(f"{tool} {', '.join(f'{ratio:.1f}' for ratio in each)} x as fast")
    return f"{method}: " + "; ".join(parts)


def measure(args: argparse.Namespace, method: str, tool: str) -> dict[str, Any]:
    """Quantize by one tool and compare with full precision."""
    torch.set_num_threads(args.threads)
    model = quantguard.load("smollm2-135m", dtype="float32")
    if args.layers:
        model.model.model.layers = model.model.model.layers[: args.layers]
        model.model.config.num_hidden_layers = args.layers
    calibration = CalibrationArgs(
        dataset="python-docs",
        num_samples=args.samples or SAMPLES[method],
        max_length=WINDOW,
        precision="bfloat16" if tool == "quantguard bf16" else "float32",
        # SmoothQuant takes its statistics from the float model, as the paper and the peer do.
        propagation="full-precision" if method == "smoothquant" else "quantized",
    )
    quantize = by_llm_compressor if tool == "llm-compressor" else by_quantguard
    quantized, seconds = quantize(model, method, calibration)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    docs = text_fidelity.token_sequences(model.tokenizer, text_fidelity.load().samples)
    found = {"seconds": seconds, "peak_gb": peak_gb, "docs": compare_logits(quantized, model, docs)}
    if args.wikitext:
        ids = model.tokenizer(args.wikitext.read_text(encoding="utf-8")[:40_000], add_special_tokens=False)["input_ids"]
        other = [ids[start : start + WINDOW] for start in range(0, 4 * WINDOW, WINDOW)]
        found["other"] = compare_logits(quantized, model, other)
    return found


def recipe(method: str) -> Recipe:
    """Return our recipe, with the groups of 64 that divide SmolLM2's width of 576."""
    if method == "smoothquant":
        return load_recipe("smoothquant-w8a8")
    weights = QuantArgs(num_bits=4, strategy="group", group_size=64, symmetric=method == "gptq")
    return dataclasses.replace(load_recipe(f"{method}-w4a16"), weights=weights)


def by_quantguard(model: LoadedModel, method: str, calibration: CalibrationArgs) -> tuple[LoadedModel, float]:
    """Quantize with quantguard."""
    chosen = dataclasses.replace(recipe(method), calibration=calibration)
    # Like the peer's, our modules are imported before the clock starts.
    for family, names in ((transforms.members, chosen.transforms), (rounding.members, (chosen.rounding,))):
        assert all(family[name] for name in names)
    quantguard.quantize  # noqa: B018 - imported when it is first asked for
    started = time.monotonic()
    quantized = quantguard.quantize(model, chosen)
    return quantized, time.monotonic() - started


def by_llm_compressor(model: LoadedModel, method: str, calibration: CalibrationArgs) -> tuple[LoadedModel, float]:
    """Quantize a copy with llm-compressor on the same token sequences."""
    import copy

    import datasets
    from llmcompressor import oneshot

    # Its AWQ pins memory, which torch refuses without an accelerator: unpinned memory is what a CPU works on anyhow.
    torch.Tensor.pin_memory = lambda self, *_args: self  # type: ignore[method-assign]
    sequences = calibration_sets[calibration.dataset].token_sequences(model, calibration)
    dataset = datasets.Dataset.from_dict({"input_ids": sequences, "attention_mask": [[1] * len(s) for s in sequences]})
    twin = copy.deepcopy(model.model)
    started = time.monotonic()
    oneshot(
        model=twin,
        dataset=dataset,
        recipe=peer_modifiers(method),
        max_seq_length=WINDOW,
        num_calibration_samples=len(sequences),
        shuffle_calibration_samples=False,
    )
    return dataclasses.replace(model, model=twin), time.monotonic() - started


def peer_modifiers(method: str) -> list[Any]:
    """Return what the peer is asked to do, all linears but the head, its own defaults for what is not named."""
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform import AWQModifier, SmoothQuantModifier

    weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 64, "symmetric": method == "gptq"}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    if method == "gptq":
        return [GPTQModifier(config_groups=groups, ignore=["lm_head"], actorder="static", dampening_frac=0.01)]
    if method == "awq":
        return [AWQModifier(), QuantizationModifier(config_groups=groups, ignore=["lm_head"])]
    return [
        SmoothQuantModifier(smoothing_strength=0.5),
        QuantizationModifier(scheme={"W8A8": ["Linear"]}, ignore=["lm_head"]),
    ]


if __name__ == "__main__":
    main()
