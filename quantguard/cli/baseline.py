"""Look at stored baselines and look after them: what they hold, how they changed, which are of no use any more."""

import argparse
import dataclasses
import pathlib

from quantguard.baselines import Baseline, LayerProfile, baseline_path, noise_path, parse, read_any, write
from quantguard.baselines.git import text_at
from quantguard.baselines.history import history_of
from quantguard.baselines.suites import recall, to_remove
from quantguard.cli._accepting import accept
from quantguard.errors import BaselineError, RecordError, UsageError
from quantguard.report import baseline_text
from quantguard.verdict import USUAL_TOLERANCE

HELP = "show, compare, accept and tidy up stored baselines"
_FILE = "a file below baselines/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="what a baseline holds")
    show.add_argument("path", type=pathlib.Path, help=_FILE)
    _add_diff(actions.add_parser("diff", help="how two baselines differ: status 0 where the second PASSes, else 1"))
    history = actions.add_parser("history", help="who accepted what, when and why, by the commits of the file")
    history.add_argument("path", type=pathlib.Path, help=_FILE)
    history.add_argument("--count", type=int, default=50, metavar="N", help="the last N commits (default: 50)")
    _add_accept(actions.add_parser("accept", help="take a run that was made as the baseline, without running it again"))
    rename = actions.add_parser("rename", help="move a baseline to the names that its gate has now")
    rename.add_argument("path", type=pathlib.Path, help=_FILE)
    for name in ("model", "recipe", "benchmark"):
        rename.add_argument(f"--{name}", metavar="NAME", help="(default: as it is)")
    prune = actions.add_parser("prune", help="list baselines that the last whole run of the gates did not use")
    prune.add_argument(
        "--baselines", type=pathlib.Path, default="baselines", metavar="DIR", help="(default: baselines)"
    )
    prune.add_argument("--yes", action="store_true", help="remove them")


def _add_diff(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=pathlib.Path, help="the earlier file; with one file alone, the later one")
    parser.add_argument("other", type=pathlib.Path, nargs="?", help="the later file")
    parser.add_argument("--rev", metavar="REVISION", help="compare one file with git's (default: HEAD)")
    parser.add_argument("--tol", type=float, default=USUAL_TOLERANCE, help="tolerated drop (default: 0.045)")


def _add_accept(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=pathlib.Path, help="the baseline to write, a file below baselines/")
    parser.add_argument(
        "run",
        type=pathlib.Path,
        help="results.json of --quantguard-report, or a record of quantguard evaluate --output",
    )
    parser.add_argument(
        "--reference",
        type=pathlib.Path,
        metavar="RECORD",
        help="record of full precision (default: the baseline's own)",
    )
    parser.add_argument("--reason", help="why a result that may be worse is meant; it is kept in the file")
    parser.add_argument("--tol", type=float, help="tolerated drop (default: the gate's, else 0.045)")


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    if args.action == "diff":
        return _diff(args)
    lines = {"show": _show, "history": _history, "accept": accept, "rename": _rename, "prune": _prune}[args.action](
        args
    )
    print("\n".join(lines))
    return 0


def _show(args: argparse.Namespace) -> list[str]:
    return baseline_text.summary(read_any(args.path))


def _history(args: argparse.Namespace) -> list[str]:
    if args.count < 1:
        raise UsageError(f"--count {args.count}: at least one commit is shown")
    return baseline_text.history_lines(history_of(args.path, count=args.count))


def _diff(args: argparse.Namespace) -> int:
    if not 0 < args.tol < 1:
        raise UsageError(f"--tol {args.tol}: the tolerance is a fraction between 0 and 1; 4.5 points are 0.045")
    if args.other is not None and args.rev is not None:
        raise UsageError("--rev compares one file with what git has of it: leave the second file out")
    new = read_any(args.path if args.other is None else args.other)
    old = _at(args.path, args.rev or "HEAD", type(new)) if args.other is None else read_any(args.path)
    if isinstance(old, LayerProfile) and isinstance(new, LayerProfile):
        print("\n".join(baseline_text.diff_layers(old, new)))
        return 0 if old.layers == new.layers else 1
    if isinstance(old, LayerProfile) or isinstance(new, LayerProfile):
        raise UsageError(f"{args.path} and {args.other}: one is of items and one of layers; nothing can be compared")
    verdict = baseline_text.compare(old, new, tol=args.tol)
    print("\n".join(baseline_text.diff_lines(old, new, verdict)))
    return 0 if verdict.outcome == "PASS" else 1


def _at(path: pathlib.Path, revision: str, kind: type[Baseline | LayerProfile]) -> Baseline | LayerProfile:
    text = text_at(path, revision)
    try:
        return parse(text, LayerProfile) if kind is LayerProfile else parse(text)
    except RecordError as error:
        raise BaselineError(
            f"the baseline {path} of {revision} is damaged: {error}. Take another: --rev REVISION"
        ) from error


def _rename(args: argparse.Namespace) -> list[str]:
    stored = read_any(args.path)
    names = {name: value for name in ("model", "recipe", "benchmark") if (value := getattr(args, name)) is not None}
    if isinstance(stored, LayerProfile):
        names.pop("benchmark", None)
    renamed = dataclasses.replace(stored, **names)
    root = args.path.absolute().parents[3]
    benchmark = renamed.benchmark if isinstance(renamed, Baseline) else "layers"
    path = baseline_path(
        root, platform=renamed.platform, model=renamed.model, recipe=renamed.recipe, benchmark=benchmark
    )
    if path == args.path.absolute():
        raise UsageError(
            f"{args.path} has these names already: give --model, --recipe or --benchmark as the gate has it"
        )
    if path.exists():
        raise BaselineError(f"there is a baseline {path}; look at both: quantguard baseline diff {args.path} {path}")
    noise, target = noise_path(args.path), noise_path(path)
    if noise.exists() and target.exists():
        raise BaselineError(f"there is the noise of another baseline at {target}; remove one of the two: rm '{target}'")
    write(path, renamed)
    moved = [args.path]
    if noise.exists():
        noise.replace(target)
        moved.append(noise)
    args.path.unlink()
    return [f"renamed: {', '.join(map(str, moved))} -> {path}"]


def _prune(args: argparse.Namespace) -> list[str]:
    lines = []
    for suite in recall(args.baselines):
        paths = to_remove(suite)
        lines.append(f"{suite.platform}: {len(paths)} files that no gate of the whole run of {suite.at} used")
        lines += [f"  {'removed' if args.yes else 'unused'}: {path}" for path in paths]
        if args.yes:
            for path in paths:
                path.unlink()
    return [*lines, *([] if args.yes else ["Nothing was removed; --yes removes what is listed."])]
