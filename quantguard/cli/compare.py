"""Judge one recorded run against another: status 0 where accuracy fell by less than is tolerated, else 1."""

import argparse
import pathlib

from quantguard.records.record_file import read_record
from quantguard.verdict import USUAL_TOLERANCE, judge

HELP = "judge one recorded run against another"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the two records and the tolerance."""
    parser.add_argument(
        "candidate", type=pathlib.Path, help="record of the run to judge (quantguard evaluate --output)"
    )
    parser.add_argument("baseline", type=pathlib.Path, help="record of the run to compare with")
    parser.add_argument(
        "--tol", type=float, default=USUAL_TOLERANCE, help="tolerated absolute drop of accuracy (default: 0.045)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the verdict."""
    verdict = judge(read_record(args.candidate), read_record(args.baseline), tol=args.tol)
    print(f"{verdict.outcome}  {verdict.metric}: {verdict.reason}")
    return 0 if verdict.outcome == "PASS" else 1
