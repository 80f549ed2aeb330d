"""Write a quantized model in the format of a server, such as vLLM-Ascend."""

import argparse
import pathlib
import sys

import tqdm

HELP = "write a quantized model in the format of a server"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, the format and where to write."""
    parser.add_argument("model", help="folder that quantguard quantized; with --recipe, a full-precision model")
    parser.add_argument("--format", required=True, help="format to write: ascend")
    parser.add_argument("--output", required=True, type=pathlib.Path, metavar="DIR", help="empty or new folder")
    parser.add_argument(
        "--recipe", help="quantize the model by this recipe first: its name or the path of a .toml file"
    )
    parser.add_argument("--dtype", help="with --recipe: floating-point type of the model, such as bfloat16")
    parser.add_argument(
        "--force",
        action="append",
        default=[],
        metavar="NAME",
        help="write what its server is known to mishandle; the refusal says the name. May be given several times",
    )
    parser.add_argument(
        "--tensor-parallel-size", type=int, default=1, metavar="N", help="parts that the server splits layers in"
    )


def run(args: argparse.Namespace) -> int:
    """Write the folder and print what a reader should know of it."""
    from quantguard.pipeline.exporting import export  # noqa: PLC0415 - imports torch
    from quantguard.pipeline.progress import bar_or_lines  # noqa: PLC0415

    exported = export(
        args.model,
        args.output,
        form=args.format,
        recipe=args.recipe,
        dtype=args.dtype,
        forced=args.force,
        tensor_parallel_size=args.tensor_parallel_size,
        progress=bar_or_lines(sys.stderr),
    )
    print(f"{exported.path}: {args.format}, {tqdm.tqdm.format_sizeof(exported.num_bytes, 'B')}")
    for note in exported.notes:
        print(f"  note: {note}")
    return 0
