"""What git keeps of baseline files."""

import pathlib
import subprocess
from collections.abc import Sequence

from quantguard.errors import BaselineError

_SECONDS = 60


def run_git(folder: pathlib.Path, *arguments: str, given: str = "") -> str:
    """Return what git prints; raise BaselineError where it is not installed, or what it answers itself."""
    try:
        finished = subprocess.run(  # noqa: S603 - fixed words, a number, a revision and the name of a baseline
            ["git", "-C", str(folder), "-c", "core.quotepath=off", *arguments],  # noqa: S607 - the user's own git
            input=given.encode(),
            capture_output=True,
            check=False,
            timeout=_SECONDS,
        )
    except FileNotFoundError:
        raise BaselineError("git is not installed here, and only it knows what a baseline was before") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BaselineError(f"git did not answer in {folder}: {error}") from error
    if finished.returncode:
        said = finished.stderr.decode(errors="replace").strip().partition("\n")[0] or f"status {finished.returncode}"
        raise BaselineError(f"git cannot tell in {folder}: {said}")
    return finished.stdout.decode(errors="surrogateescape")


def text_at(path: pathlib.Path, revision: str) -> str:
    """Return what a file held at a revision; raise BaselineError where it was not there."""
    return run_git(_existing(path), "show", f"{revision}:./{path.name}")


def blobs(folder: pathlib.Path, names: Sequence[str]) -> list[str | None]:
    """Return the content of each object, all read by one process; None for one that is not there."""
    if not names:
        return []
    output = run_git(folder, "cat-file", "--batch", given="\n".join(names) + "\n").encode(errors="surrogateescape")
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


def log(path: pathlib.Path, *, count: int) -> list[tuple[list[str], str]]:
    """Return the last commits that changed a file, the newest first, and what the file was called in each.

    A commit is its short hash, day, author and subject. Raises BaselineError outside of git.
    """
    arguments = ["--follow", f"--max-count={count}", "--name-only", "--format=%x1e%h%x1f%cs%x1f%an%x1f%s"]
    found = []
    for entry in run_git(_existing(path), "log", *arguments, "--", path.name).split("\x1e")[1:]:
        head, *names = [line for line in entry.splitlines() if line]
        if names:
            found.append((head.split("\x1f", 3), names[-1]))
    return found


def _existing(path: pathlib.Path) -> pathlib.Path:
    folder = path.absolute().parent
    if not folder.is_dir():
        raise BaselineError(f"there is no folder {folder}")
    return folder
