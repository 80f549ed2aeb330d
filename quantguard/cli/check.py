"""Hold a quantized checkpoint against the rules of its format, without loading it."""

import argparse
import pathlib

HELP = "check the files of a quantized checkpoint, without loading it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the folder."""
    parser.add_argument("path", type=pathlib.Path, help="folder of a quantized checkpoint, of any format in the list")


def run(args: argparse.Namespace) -> int:
    """Print what was found; 1 where a rule is broken, which a warning is not."""
    from quantguard.pipeline import checking  # noqa: PLC0415 - imports torch

    checked = checking.check(args.path)
    for defect in checked.defects:
        print(f"{checked.path}/{defect}")
    for warning in checked.warnings:
        print(f"warning: {checked.path}/{warning}")
    print(checked.summary())
    return 1 if checked.defects else 0
