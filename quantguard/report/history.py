"""What a baseline file said over the commits that changed it, read from git where there is one."""

import json
import pathlib
import statistics
import subprocess
from collections.abc import Sequence
from typing import Any, NamedTuple

MOST_COMMITS = 12
_SECONDS = 10
_FIELDS = "%h%x1f%cs%x1f%s"


class Point(NamedTuple):
    """One commit of a baseline: accuracies 0..1 of the accepted run and of full precision, and who accepted it."""

    commit: str
    day: str
    subject: str
    accepted: float
    reference: float
    num_items: int
    by: str
    why: str


def history_of(path: pathlib.Path, *, count: int = MOST_COMMITS) -> tuple[Point, ...]:
    """Return the last ``count`` commits of a baseline, oldest first; none where there is no git, file or history.

    A history is an extra of the report, so what git cannot say is left out.
    """
    folder = path.absolute().parent
    log = _git(folder, "log", f"--max-count={count}", f"--format={_FIELDS}", "--", path.name)
    commits = [line.split("\x1f", 2) for line in log.splitlines() if line.count("\x1f") == 2]
    blobs = _blobs(folder, [f"{commit}:./{path.name}" for commit, _, _ in commits])
    points = [_point(commit, blob) for commit, blob in zip(commits, blobs, strict=False)]
    return tuple(point for point in reversed(points) if point is not None)


def _point(commit: Sequence[str], blob: str | None) -> Point | None:
    """Read a baseline of another time by what it has to have in any; None where it has not."""
    try:
        table: dict[str, Any] = json.loads(blob or "")
        accepted, reference = (_mean(table["items"], side) for side in ("accepted", "reference"))
        accept = table["acceptance"]
        said = str(accept["by"]), str(accept["why"])
        return Point(commit[0], commit[1], commit[2], accepted, reference, len(table["items"]), *said)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _mean(items: Sequence[dict[str, Any]], side: str) -> float:
    return statistics.fmean(value for item in items if (value := item[side]["value"]) is not None)


def _blobs(folder: pathlib.Path, names: Sequence[str]) -> list[str | None]:
    """Return the content of each object, all read by one process."""
    if not names:
        return []
    output = _git(folder, "cat-file", "--batch", given="\n".join(names) + "\n").encode()
    found: list[str | None] = []
    while output:
        head, _, rest = output.partition(b"\n")
        size = head.split()[-1]
        if not size.isdigit():
            found.append(None)
            output = rest
            continue
        found.append(rest[: int(size)].decode(errors="replace"))
        output = rest[int(size) + 1 :]
    return found


def _git(folder: pathlib.Path, *arguments: str, given: str = "") -> str:
    """Return what git prints, and nothing where it cannot be run or fails."""
    try:
        finished = subprocess.run(  # noqa: S603 - fixed words, a number and the name of a baseline
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's own git
            input=given.encode(),
            capture_output=True,
            check=True,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return finished.stdout.decode(errors="surrogateescape")
