"""Measure which layers and linears a recipe hurts most, and mix precisions within a budget of bits."""

import argparse
import pathlib
import sys

from quantguard.cli._output import require_picture, require_recipe, write
from quantguard.errors import UsageError
from quantguard.recipes import dump_recipe, load_recipe
from quantguard.records import QuantArgs

HELP = "find the layers that a recipe hurts, and mix precisions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, the recipe and what to write."""
    parser.add_argument("model", help="short name, Hugging Face id, folder or .gguf file")
    parser.add_argument("--recipe", default="w4a4", help="name of a recipe or path of a .toml file (default: w4a4)")
    parser.add_argument("--dtype", help="floating-point type of the model, such as bfloat16")
    parser.add_argument("--top", type=int, default=15, metavar="N", help="layers and linears to list (default: 15)")
    parser.add_argument("--plot", type=pathlib.Path, metavar="FILE.svg", help="draw all layers and linears")
    parser.add_argument(
        "--budget-bits", type=float, metavar="BITS", help="choose 8-bit linears within so many bits a weight on average"
    )
    parser.add_argument("--output", type=pathlib.Path, metavar="FILE.toml", help="write the mixed recipe")


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, and search where a budget is given."""
    if (args.budget_bits is None) != (args.output is None):
        raise UsageError("--budget-bits and --output go together: the mixed recipe is written to a file")
    if args.plot is not None:
        require_picture("--plot", args.plot)
    if args.output is not None:
        require_recipe("--output", args.output)
    if args.top < 1:
        raise UsageError(f"--top {args.top}: at least one layer is listed")
    import quantguard  # noqa: PLC0415 - the facade, whose functions import torch
    from quantguard.pipeline.mixing import mix_precision  # noqa: PLC0415
    from quantguard.pipeline.progress import bar  # noqa: PLC0415
    from quantguard.pipeline.sensitivity import comparison_text, sensitivity  # noqa: PLC0415
    from quantguard.report import sensitivity_chart  # noqa: PLC0415

    recipe = load_recipe(args.recipe)
    model = quantguard.load(args.model, dtype=args.dtype)
    text = comparison_text(model)
    measured = sensitivity(model, recipe, text, progress=bar(sys.stderr))
    lines = []
    for kind, parts in (("decoder layer", measured.layers), ("linear", measured.linears)):
        lines += [*sensitivity_chart.table(parts, kind=kind, count=args.top), ""]
    alone = sum(linear.kl for linear in measured.linears)
    lines.append(f"KL with all of them quantized: {measured.kl:.4f}; the linears alone add up to {alone:.4f}")
    if args.plot is not None:
        title = f"{model.name}, {recipe.name}: share of the divergence, one part quantized at a time"
        write("--plot", args.plot, sensitivity_chart.svg((measured.layers, measured.linears), title=title))
    if args.budget_bits is not None:
        better = QuantArgs(num_bits=8, strategy="channel")
        found = mix_precision(
            model, recipe, measured.linears, text, better=better, budget_bits=args.budget_bits, progress=bar(sys.stderr)
        )
        write("--output", args.output, dump_recipe(found.recipe))
        lines.append(
            f"{args.output}: {len(found.recipe.overrides[0].targets)} of {len(measured.linears)} linears in 8 bits,"
            f" {found.effective_bits:.2f} bits a weight; KL predicted {found.predicted_kl:.4f},"
            f" measured {found.measured_kl:.4f}"
        )
    # What was to be written is written before a reader can go away.
    print("\n".join(lines))
    return 0
