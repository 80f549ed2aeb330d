"""Say what is installed, which backends, benchmarks and models can be used, and what is missing for the others.

Status 0 where everything that was asked about is usable; without a name, where quantguard runs at all: its packages
are in order, and one backend, one benchmark and one model are usable. Otherwise 1.
"""

import argparse
import json

from quantguard.doctor import diagnose
from quantguard.report import diagnosis_text

HELP = "say what works on this machine, and what is missing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what to ask about."""
    for kind, example in (("backend", "ascend"), ("benchmark", "word-problems"), ("model", "tiny-reasoner")):
        parser.add_argument(
            f"--{kind}",
            action="append",
            default=[],
            metavar="NAME",
            help=f"ask about this {kind} only, such as {example}",
        )
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")


def run(args: argparse.Namespace) -> int:
    """Examine and print."""
    diagnosis = diagnose(backends=args.backend, benchmarks=args.benchmark, models=args.model)
    print(json.dumps(diagnosis_text.as_json(diagnosis), indent=1) if args.json else diagnosis_text.as_text(diagnosis))
    return 0 if diagnosis.usable else 1
