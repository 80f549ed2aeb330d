"""What a baseline file said over the commits that changed it, under whatever name."""

import pathlib
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from quantguard.baselines.git import blobs, log
from quantguard.errors import BaselineError, RecordError
from quantguard.records.files import parse_json
from quantguard.records.sealed_file import unseal

MOST_COMMITS = 12


class Point(NamedTuple):
    """One commit of a baseline: accuracies 0..1 of the accepted run and of full precision, who accepted it and why.

    Accuracies are absent for a profile of layers, which ``num_items`` counts then, and for a commit with a ``problem``
    that keeps the file from being read.
    """

    commit: str
    day: str
    author: str
    subject: str
    accepted: float | None = None
    reference: float | None = None
    num_items: int = 0
    by: str = ""
    why: str = ""
    problem: str | None = None


def history_of(path: pathlib.Path, *, count: int = MOST_COMMITS) -> tuple[Point, ...]:
    """Return the last ``count`` commits of a baseline, oldest first; raise BaselineError where there are none."""
    commits = log(path, count=count)
    if not commits:
        raise BaselineError(f"no commit has {path}. Type: git add {path} && git commit")
    found = blobs(path.absolute().parent, [f"{commit[0]}:{name}" for commit, name in commits])
    points = [_point(commit, blob) for (commit, _), blob in zip(commits, found, strict=True)]
    return tuple(reversed(points))


def _point(commit: Sequence[str], blob: str | None) -> Point:
    """Read a baseline of another time by what it has to have in any."""
    short, day, author, subject = commit
    point = Point(short, day, author, subject)
    if blob is None:
        return point._replace(problem="the file was removed")
    try:
        table: Any = parse_json(blob)
        accept = table["acceptance"]
        point = point._replace(by=str(accept["by"]), why=str(accept["why"]))
        if "layers" in table:
            return point._replace(num_items=len(table["layers"]))
        accepted, reference = (_mean(table["items"], side) for side in ("accepted", "reference"))
        point = point._replace(accepted=accepted, reference=reference, num_items=len(table["items"]))
        unseal(table)
    except RecordError as error:
        return point._replace(problem=str(error))
    except (ValueError, KeyError, TypeError, AttributeError):
        return point._replace(problem="it is no baseline")
    return point


def _mean(items: Sequence[dict[str, Any]], side: str) -> float:
    return statistics.fmean(value for item in items if (value := item[side]["value"]) is not None)
