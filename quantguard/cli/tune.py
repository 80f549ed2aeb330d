"""Search the hyper-parameters of a learned transform on a model's hardest layers, and write the best as a recipe."""

import argparse
import math
import pathlib
import sys
from typing import TYPE_CHECKING

from quantguard.cli._output import require_recipe, write
from quantguard.recipes import dump_recipe, load_recipe

if TYPE_CHECKING:
    from quantguard.pipeline.tuning import Tuned

HELP = "search the hyper-parameters of a learned transform"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, the recipe and what to write."""
    parser.add_argument("model", help="short name, Hugging Face id, folder or .gguf file")
    parser.add_argument(
        "--recipe", default="flatquant-w4a4kv4", help="recipe to start from (default: flatquant-w4a4kv4)"
    )
    parser.add_argument("--output", required=True, type=pathlib.Path, metavar="FILE.toml", help="recipe to write")
    parser.add_argument("--layers", type=int, default=3, metavar="N", help="layers to try settings on (default: 3)")
    parser.add_argument("--dtype", help="floating-point type of the model, such as bfloat16")


def run(args: argparse.Namespace) -> int:
    """Search, print every trial, and write the recipe."""
    require_recipe("--output", args.output)
    import quantguard  # noqa: PLC0415 - the facade, whose functions import torch
    from quantguard.pipeline.progress import bar_or_lines  # noqa: PLC0415
    from quantguard.pipeline.tuning import tune  # noqa: PLC0415

    recipe = load_recipe(args.recipe)
    model = quantguard.load(args.model, dtype=args.dtype)
    found = tune(model, recipe, num_blocks=args.layers, progress=bar_or_lines(sys.stderr))
    write("--output", args.output, dump_recipe(found.recipe))
    print("\n".join(table(found)))
    print(f"{args.output}: {found.recipe.name}. Quantize with it: --recipe {args.output}")
    return 0


def table(found: "Tuned") -> list[str]:
    """Return the trials, each with its mean loss and that of every probed layer, the best one marked."""
    from quantguard.pipeline.tuning import worded  # noqa: PLC0415

    names = ", ".join(name.rpartition(".")[2] for name in found.blocks)
    lines = [f"loss     in layers {names}"]
    for trial in found.trials:
        if trial.losses is None:
            lines.append(f"failed   {worded(trial.options)}: {trial.failure}")
            continue
        each = ", ".join(f"{loss:.2e}" for loss in trial.losses)
        mark = " <- best" if trial is found.best else ""
        lines.append(f"{math.exp(trial.score):.2e} {each}  {worded(trial.options)}{mark}")
    return lines
