"""Parse the command line and run a subcommand; errors of quantguard's own end with status 2 and no traceback."""

import argparse
import importlib
import pathlib
import pkgutil
import sys
from importlib import metadata

from quantguard.errors import QuantguardError


def main() -> int:
    """Run the command that the arguments name and return its exit status."""
    parser = build_parser()
    args = parser.parse_args()
    try:
        return int(importlib.import_module(f"quantguard.cli.{args.command}").run(args))
    except QuantguardError as error:
        print(f"quantguard {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"quantguard {args.command}: interrupted", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Build the parser with every subcommand found beside this module."""
    parser = argparse.ArgumentParser(
        prog="quantguard", description="Quantize reasoning models, and find out whether they are still good."
    )
    parser.add_argument("--version", action="version", version=f"quantguard {metadata.version('quantguard')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in pkgutil.iter_modules([str(pathlib.Path(__file__).parent)]):
        if not module.name.startswith("_"):
            command = importlib.import_module(f"quantguard.cli.{module.name}")
            command.add_arguments(commands.add_parser(module.name, help=command.HELP, description=command.__doc__))
    return parser


if __name__ == "__main__":
    sys.exit(main())
