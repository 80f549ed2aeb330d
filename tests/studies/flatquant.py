"""How FlatQuant in 4 bits fails as its learning rate grows, and what the gentle preset and the search recover.

python tests/studies/flatquant.py                                          # the tables of flatquant.md
python tests/studies/flatquant.py --items 10 --samples 4 --rates 0.005 2   # a sample

On tiny-reasoner, whose accuracy is asked for; --model smollm2-135m asks for the divergence from full precision instead.
The search starts from the largest of the rates.
"""

import argparse
import dataclasses
from typing import Any

import torch

import quantguard
from quantguard.errors import MeasurementError
from quantguard.modeling import LoadedModel
from quantguard.modeling.comparing import compare_logits
from quantguard.pipeline.sensitivity import comparison_text
from quantguard.pipeline.tuning import tune, worded
from quantguard.recipes import load_recipe
from quantguard.records import Recipe


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-reasoner")
    parser.add_argument("--layers", type=int, help="only so many layers of the model")
    parser.add_argument("--samples", type=int, default=32, help="calibration sequences")
    parser.add_argument("--items", type=int, default=600)
    parser.add_argument("--rates", type=float, nargs="+", default=(0.005, 0.02, 0.1, 0.5, 2.0), metavar="RATE")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = quantguard.load(args.model)
    if args.layers:
        model.model.model.layers = model.model.model.layers[: args.layers]
        model.model.config.num_hidden_layers = args.layers
    calibration = dataclasses.replace(model.calibration, num_samples=args.samples)
    print(f"torch {torch.__version__}, {model.name}, calibration {args.samples} sequences\n")
    print("| recipe | what happened | loss by layer, end over start | " + outcome_name(model) + " |\n|---|---|---|---|")
    measure("full precision", None, model, args.items)
    steep = dataclasses.replace(load_recipe("flatquant-w4a4kv4"), calibration=calibration)
    for rate in args.rates:
        recipe = with_options(steep, learning_rate=rate)
        measure(f"`flatquant-w4a4kv4`, learning_rate {rate}", recipe, model, args.items)
    gentle = dataclasses.replace(load_recipe("flatquant-w4a4kv4-npu"), calibration=calibration)
    measure("`flatquant-w4a4kv4-npu`", gentle, model, args.items)
    found = tune(model, with_options(steep, learning_rate=max(args.rates)), num_blocks=min(3, count_layers(model)))
    measure("`quantguard tune`", found.recipe, model, args.items)
    print(f"\nThe search tried {len(found.trials)} settings and chose {worded(found.best.options)}.")


def count_layers(model: LoadedModel) -> int:
    """Count the decoder layers."""
    return int(model.model.config.num_hidden_layers)


def with_options(recipe: Recipe, **changed: Any) -> Recipe:
    """Return the recipe with other settings of FlatQuant."""
    return dataclasses.replace(recipe, options={"flatquant": {**recipe.options["flatquant"], **changed}})


def outcome_name(model: LoadedModel) -> str:
    """Name what is measured of a quantized model."""
    return "accuracy" if model.name == "tiny-reasoner" else "KL, nats"


def measure(label: str, recipe: Recipe | None, model: LoadedModel, items: int) -> None:
    """Quantize, and print a row."""
    try:
        quantized = model if recipe is None else quantguard.quantize(model, recipe)
    except MeasurementError as error:
        print(f"| {label} | stopped: {str(error).partition('. Lower')[0]} | | |", flush=True)
        return
    reports = quantized.layer_reports
    put_back = [report.name.rpartition(".")[2] for report in reports if report.rolled_back]
    happened = f"layers {', '.join(put_back)} rolled back" if put_back else "learned" if reports else ""
    curves = ", ".join(f"{report.losses[-1] / report.losses[0]:.2f}" for report in reports)
    print(f"| {label} | {happened} | {curves} | {outcome(quantized, model, items)} |", flush=True)


def outcome(quantized: LoadedModel, model: LoadedModel, items: int) -> str:
    """Return accuracy on the benchmark, or the divergence from full precision."""
    if model.name == "tiny-reasoner":
        return f"{quantguard.evaluate(quantized, subset=items).metrics['accuracy']:.1%}"
    return f"{compare_logits(quantized, model, comparison_text(model))['kl']:.4f}"


if __name__ == "__main__":
    main()
