"""Quantize a model into a folder, layer by layer; a run that was ended goes on when it is started again."""

import argparse
import pathlib
import sys

from quantguard.recipes import load_recipe
from quantguard.records import LayerReport

HELP = "quantize a model into a folder"
_NUM_WORST = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, the recipe and where to write."""
    parser.add_argument("model", help="short name, Hugging Face id or folder of safetensors")
    parser.add_argument("--recipe", required=True, help="name of a recipe or path of a .toml file")
    parser.add_argument("--output", required=True, type=pathlib.Path, metavar="DIR", help="folder to write")
    parser.add_argument("--dtype", help="floating-point type of the model, such as bfloat16 (default: as stored)")
    parser.add_argument("--device", default="cpu", help="device, such as cpu or npu:0 (default: cpu)")
    parser.add_argument("--backend", default="auto", help="kernel backend (default: auto)")


def run(args: argparse.Namespace) -> int:
    """Quantize, and print the layers that came out worst."""
    import quantguard  # noqa: PLC0415 - the facade, whose functions import torch
    from quantguard.pipeline.progress import bar_or_lines  # noqa: PLC0415
    from quantguard.pipeline.saving import needs_whole_model  # noqa: PLC0415

    recipe = load_recipe(args.recipe)
    if reason := needs_whole_model(args.model, recipe):
        print(f"{reason}, which is held in memory for that", file=sys.stderr)
    try:
        saved = quantguard.quantize_to_folder(
            args.model,
            recipe,
            args.output,
            dtype=args.dtype,
            device=args.device,
            backend=args.backend,
            progress=bar_or_lines(sys.stderr),
        )
    except KeyboardInterrupt:
        if args.output.is_dir():
            print(f"finished layers are kept in {args.output}; the same command goes on with them", file=sys.stderr)
        raise
    resumed = f", {saved.num_resumed} of them by an earlier run" if saved.num_resumed else ""
    print(f"{saved.path}: {len(saved.reports)} layers quantized{resumed}")
    print("\n".join([*worst(saved.reports), *(f"  note: {note}" for note in saved.notes)]))
    return 0


def worst(reports: tuple[LayerReport, ...]) -> list[str]:
    """Return lines on the layers with the largest error, and on every part that was rolled back."""
    measured = [(report.relative_error, report.name) for report in reports if report.relative_error is not None]
    lines = [f"  {name:<20} relative error {error:.2e}" for error, name in sorted(measured, reverse=True)[:_NUM_WORST]]
    return lines + [f"  {r.name:<20} rolled back: {', '.join(r.rolled_back)}" for r in reports if r.rolled_back]
