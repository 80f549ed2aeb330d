"""Measure tiny-reasoner: accuracy by thinking mode, and what every recipe costs.

python tests/studies/tiny_reasoner.py              # the tables of tiny_reasoner.md, all 1,200 items
python tests/studies/tiny_reasoner.py --items 60   # a sample
"""

import argparse
import collections
import sys
from collections.abc import Sequence

import torch

import quantguard
from quantguard import benchmarks, recipes
from quantguard.calibration import worked_problems
from quantguard.modeling import BlockCalibration, LoadedModel, embed, find_decoder
from quantguard.records import RunRecord
from quantguard.tiny_reasoner.problems import MODES, STEP_COUNTS


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1200)
    parser.add_argument("--batch-sizes", nargs="+", type=int, metavar="N", default=(1, 7, 64, 256))
    parser.add_argument("--recipes", nargs="+", choices=recipes.names(), metavar="RECIPE", default=recipes.names())
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = quantguard.load("tiny-reasoner")
    print(f"torch {torch.__version__}, float32, greedy, one thread, {args.items} items\n")
    full = modes(model, args.items)
    costs(model, full, args.items, args.recipes)
    batches(model, min(args.items, 300), args.batch_sizes)
    outliers(model)


def modes(model: LoadedModel, count: int) -> dict[str, RunRecord]:
    """Print accuracy by mode and number of steps; return the records by mode."""
    print("| mode | all | " + " | ".join(f"{n} steps" for n in STEP_COUNTS) + " | tokens |")
    print("|---|---|" + "---|" * len(STEP_COUNTS) + "---|")
    records = {mode: quantguard.evaluate(model, subset=count, mode=mode) for mode in MODES}
    steps = {sample.id: sample.metadata["steps"] for sample in benchmarks.members["word-problems"].load().samples}
    for mode, record in records.items():
        grouped = collections.defaultdict(list)
        for score in record.scores:
            grouped[steps[score.sample_id]].append(score.value or 0.0)
        cells = " | ".join(f"{sum(grouped[n]) / len(grouped[n]):.1%}" for n in STEP_COUNTS)
        metrics = record.metrics
        print(f"| `{mode}` | {metrics['accuracy']:.1%} | {cells} | {metrics['mean_num_tokens']:.0f} |", flush=True)
    return records


def costs(model: LoadedModel, full: dict[str, RunRecord], count: int, names: list[str]) -> None:
    """Print what every recipe costs against full precision in every mode, in points, with items lost and gained."""
    print("\n| recipe | " + " | ".join(f"`{mode}`, points (lost, gained)" for mode in full) + " | silent | kernels |")
    print("|---|" + "---|" * len(full) + "---|---|")
    for name in names:
        quantized = quantguard.quantize(model, recipe=name)
        cells, silent = [], 0.0
        for mode, before in full.items():
            record = quantguard.evaluate(quantized, subset=count, mode=mode)
            cells.append(cost(record, before))
            silent = max(silent, record.metrics["unparsed"] + record.metrics["truncated"])
        kernels = ", ".join(f"{op} on {backend.split()[0]}" for op, backend in record.kernels.items())
        print(f"| `{name}` | {' | '.join(cells)} | {silent:.1%} | {kernels} |", flush=True)
    print("\nSilent: answers without a result or cut off at the limit, in the mode that has most of them.")


def cost(record: RunRecord, before: RunRecord) -> str:
    """Return a cell: the change of accuracy, and the items that were lost and gained."""
    values = {score.sample_id: score.value for score in before.scores}
    lost = sum(values[s.sample_id] == 1 and s.value == 0 for s in record.scores)
    gained = sum(values[s.sample_id] == 0 and s.value == 1 for s in record.scores)
    return f"{100 * (record.metrics['accuracy'] - before.metrics['accuracy']):+.1f} ({lost}, {gained})"


def batches(model: LoadedModel, count: int, sizes: Sequence[int]) -> None:
    """Print how many answers differ between batch sizes, to the letter and in outcome."""
    print("\n| model | batch size | answers that differ from batch 128 | outcomes that do |")
    print("|---|---|---|---|")
    for candidate in (model, quantguard.quantize(model, recipe="w8a8")):
        expected = quantguard.evaluate(candidate, subset=count)
        for size in sizes:
            record = quantguard.evaluate(candidate, subset=count, batch_size=size)
            texts = sum(a.text != b.text for a, b in zip(record.generations, expected.generations, strict=True))
            flips = sum(a.value != b.value for a, b in zip(record.scores, expected.scores, strict=True))
            print(f"| {record.recipe_name} | {size} | {texts} of {count} | {flips} |", flush=True)


def outliers(model: LoadedModel) -> None:
    """Print how far the largest input channel of each kind of linear stands out."""
    print("\n| input of | largest channel over the median one, by layer |")
    print("|---|---|")
    decoder = find_decoder(model.model)
    sequences = worked_problems.token_sequences(model, model.calibration)
    activations = embed(decoder, sequences)
    ratios: dict[str, list[str]] = {}
    for block in decoder.blocks:
        calibration = BlockCalibration(block, activations, model.model.config)
        for group in block.groups.values():
            absmax = calibration.stats(group, gram=False).absmax
            ratios.setdefault(", ".join(group.parts), []).append(f"{float(absmax.max() / absmax.median()):.1f}")
        activations = calibration.float_outputs()
    for parts, cells in ratios.items():
        print(f"| {parts} | {', '.join(cells)} |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
