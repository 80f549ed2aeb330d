"""Which of the stored baselines a whole run of all gates has no use for, or cannot use.

Whether a baseline is used is known by running: a gate's file is named by its platform, model, recipe and benchmark,
which nothing but the gate's own code says. So only a run of the whole suite can tell, on the platforms that it ran on.
"""

import dataclasses
import fnmatch
import pathlib
from collections.abc import Sequence
from typing import Literal

from quantguard.baselines.noise import noise_path
from quantguard.baselines.store import UPDATE_HINT, BaselineLocation, read_any
from quantguard.errors import BaselineError

_NOISE = "*.noise"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What is to be said of a baseline file, and the command that mends it."""

    kind: Literal["damaged", "stale", "renamed", "unused"]
    path: str
    why: str
    command: str

    @property
    def line(self) -> str:
        """The notice for a terminal."""
        return f"{self.kind} baseline {self.path}: {self.why}. Type: {self.command}"


def survey(
    root: pathlib.Path, locations: Sequence[BaselineLocation], *, whole: bool, kept: Sequence[str] = ()
) -> tuple[Notice, ...]:
    """Look through the baselines below ``root`` on the platforms of ``locations``.

    ``locations`` are those of the gates that ran. Unless these are the ``whole`` suite, and all of them came to their
    end, nothing is called unused; a baseline whose content a gate misses under another name is renamed all the same.
    Neither is what fits a pattern of ``kept``, such as ``cpu/*/w3a16/*``: other gates use that.
    """
    used = {pathlib.Path(location.path).absolute() for location in locations}
    missing = [location for location in locations if not pathlib.Path(location.path).exists()]
    notices = [notice for location in locations if (notice := _of_used(location)) is not None]
    for platform in sorted({location.platform for location in locations}):
        others = [path for path in (root / platform).rglob("*.json") if path.absolute() not in used]
        found = (_of_unused(root, path, missing, whole=whole and not _fits(root, path, kept)) for path in others)
        notices += [notice for notice in found if notice is not None]
        notices += _lonely_noise(root, root / platform) if whole else []
    return tuple(dict.fromkeys(sorted(notices, key=lambda notice: (notice.kind, notice.path))))


def _fits(root: pathlib.Path, path: pathlib.Path, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(path.relative_to(root).as_posix(), pattern) for pattern in patterns)


def _of_used(location: BaselineLocation) -> Notice | None:
    path = pathlib.Path(location.path)
    if not path.exists():
        return None
    update = UPDATE_HINT.format("changed").removeprefix("Type: ")
    try:
        stored = read_any(path)
    except BaselineError:
        return Notice(kind="damaged", path=location.path, why="it cannot be read", command=update)
    changed = [difference.name for difference in stored.fingerprint.differences(location.fingerprint)]
    if not changed:
        return None
    return Notice(kind="stale", path=location.path, why=f"{', '.join(changed)} changed", command=update)


def _of_unused(
    root: pathlib.Path, path: pathlib.Path, missing: Sequence[BaselineLocation], *, whole: bool
) -> Notice | None:
    try:
        stored = read_any(path)
    except BaselineError:
        return _unused(root, path, "no gate uses it, and it cannot be read") if whole else None
    for location in missing:
        if stored.fingerprint == location.fingerprint and stored.platform == location.platform:
            names = f" --model '{location.model}' --recipe '{location.recipe}' --benchmark '{location.benchmark}'"
            return Notice(
                kind="renamed",
                path=str(path),
                why=f"a gate misses {location.path}, and weights, recipe, data and all else of this one are the same",
                command=f"quantguard baseline rename {path}{names}",
            )
    return _unused(root, path, "no gate of the whole suite uses it") if whole else None


def _lonely_noise(root: pathlib.Path, folder: pathlib.Path) -> list[Notice]:
    return [
        _unused(root, path, "there is no baseline beside this noise")
        for path in folder.rglob(_NOISE)
        if not any(noise_path(known) == path for known in path.parent.glob("*.json"))
    ]


def _unused(root: pathlib.Path, path: pathlib.Path, why: str) -> Notice:
    command = f"quantguard baseline prune --baselines {root} --yes"
    return Notice(kind="unused", path=str(path), why=why, command=command)
