"""Show what a stored baseline holds: which run was accepted, by whom, and how it compares with full precision."""

import argparse
import pathlib
import statistics

from quantguard.baselines import Baseline, read
from quantguard.verdict import AccuracyRule, judge_accuracy

HELP = "show a stored baseline"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the action and the file."""
    parser.add_argument("action", choices=("show",), help="what to do")
    parser.add_argument("path", type=pathlib.Path, help="a file below baselines/")


def run(args: argparse.Namespace) -> int:
    """Print the baseline's summary."""
    print("\n".join(summary(read(args.path))))
    return 0


def summary(baseline: Baseline) -> list[str]:
    """Return the baseline's lines for a terminal."""
    accuracies = {
        side: statistics.fmean(score.value or 0.0 for score in baseline.scores(against))
        for side, against in (("accepted", "baseline"), ("full precision", "reference"))
    }
    verdict = judge_accuracy(
        baseline.scores("baseline"),
        baseline.scores("reference"),
        expected_ids=baseline.sample_ids,
        rule=AccuracyRule(tol=0.045),
    )
    accepted = baseline.acceptance
    subject = f"{baseline.benchmark} on {baseline.model}, {baseline.recipe} ({baseline.platform})"
    return [
        f"{subject}, {len(baseline.items)} answers",
        *[f"  {side:<15} {value:.1%}" for side, value in accuracies.items()],
        f"  between the two {verdict.reason}",
        f"  accepted        by {accepted.by} on {accepted.on}: {accepted.why}",
        *[f"  {key:<15} {value}" for key, value in sorted({**baseline.recorded, **baseline.must_match}.items())],
    ]
