"""Say what an accuracy gate could decide, before anything runs: status 0 where it can, else 1."""

import argparse
import pathlib

from quantguard.baselines import read
from quantguard.benchmarks import Benchmarks
from quantguard.errors import UsageError
from quantguard.gates.accuracy.planning import USUAL_FLIP_RATE, Plan, known_noise, make_plan, plan_from_baseline
from quantguard.run_options import options
from quantguard.verdict import USUAL_TOLERANCE, AccuracyRule

HELP = "say what an accuracy gate could decide, before it runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the gate's settings, and what is known of its items."""
    parser.add_argument("--benchmark", default="word-problems", help="name of a benchmark (default: word-problems)")
    parser.add_argument("--baseline", type=pathlib.Path, metavar="FILE", help="plan by the items of a stored baseline")
    parser.add_argument("--subset", type=int, metavar="N", help="number of items (default: the benchmark's)")
    parser.add_argument(
        "--tol", type=float, default=USUAL_TOLERANCE, help="tolerated absolute drop of accuracy (default: 0.045)"
    )
    parser.add_argument("--strict", action="store_true", help="as the marker's strict=True")
    parser.add_argument(
        "--flip-rate",
        type=float,
        metavar="RATE",
        help=f"share of items that flip where nothing has changed (default: the baseline's, else {USUAL_FLIP_RATE})",
    )
    [early_stop] = options("early_stop")
    parser.add_argument(f"--{early_stop.flag}", **early_stop.arguments)
    parser.add_argument("--tokens-per-second", type=float, metavar="N", help="speed of generation, to tell the time")


def run(args: argparse.Namespace) -> int:
    """Print the plan, and why it cannot decide where it cannot."""
    if not 0 < args.tol < 1:
        raise UsageError(f"--tol {args.tol}: the tolerance is a fraction between 0 and 1; 4.5 points are 0.045")
    if args.flip_rate is not None and not 0 <= args.flip_rate <= 1:
        raise UsageError(f"--flip-rate {args.flip_rate}: a share between 0 and 1 is wanted")
    plan = _from_baseline(args) if args.baseline is not None else _from_benchmark(args)
    print("\n".join(plan.lines()))
    if args.tokens_per_second and plan.num_tokens is not None:
        print(f"time: {plan.num_tokens / args.tokens_per_second / 60:.1f} minutes at most")
    if plan.problem is not None:
        print(f"CANNOT DECIDE: {plan.problem}")
    return 0 if plan.problem is None else 1


def _from_baseline(args: argparse.Namespace) -> Plan:
    baseline = read(args.baseline)
    noise = known_noise(args.baseline, baseline) if args.flip_rate is None else args.flip_rate
    return plan_from_baseline(
        baseline,
        baseline.sample_ids[: args.subset],
        rule=AccuracyRule(tol=args.tol, strict=args.strict),
        against="baseline",
        method=args.early_stop,
        noise=noise,
    )


def _from_benchmark(args: argparse.Namespace) -> Plan:
    data = Benchmarks()[args.benchmark]
    num_items = data.default_subset if args.subset is None else args.subset
    if not 0 < num_items <= len(data.samples):
        raise UsageError(f"{args.benchmark} has {len(data.samples)} items; a subset of {num_items} is impossible")
    return make_plan(
        num_items=num_items,
        rule=AccuracyRule(tol=args.tol, strict=args.strict),
        accuracy=1.0,
        method=args.early_stop,
        flip_rate=USUAL_FLIP_RATE if args.flip_rate is None else args.flip_rate,
        flips_from="assumed" if args.flip_rate is None else "given",
    )
