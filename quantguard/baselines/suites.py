"""What the last whole run of a suite had no use for: kept in the user's cache, so that it can be removed later."""

import dataclasses
import datetime as dt
import pathlib
from collections.abc import Iterable

from quantguard import catalog
from quantguard.baselines.noise import noise_path
from quantguard.baselines.survey import Notice
from quantguard.errors import BaselineError
from quantguard.records.codec import digest
from quantguard.records.files import file_sha256
from quantguard.records.sealed_file import SealedFile


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A whole run on one platform.

    Attributes:
        root: The folder of the baselines.
        platform: The platform.
        at: When the run ended, ISO, UTC.
        unused: The sha256 of every file that it had no use for, by path.
    """

    root: str
    platform: str
    at: str
    unused: dict[str, str]


_FILE = SealedFile(
    record=Suite,
    error=BaselineError,
    damaged="what the last whole run said, in {path}, is damaged: {problem}. Type: rm '{path}'",
)


def remember(root: pathlib.Path, platforms: Iterable[str], notices: Iterable[Notice]) -> None:
    """Keep what a whole run called unused, in the place of what the one before it did."""
    unused = [pathlib.Path(notice.path) for notice in notices if notice.kind == "unused"]
    at = dt.datetime.now(dt.UTC).isoformat(timespec="minutes")
    for platform in platforms:
        mine = {str(path.absolute()): _sha256(path) for path in unused if path.is_relative_to(root / platform)}
        suite = Suite(root=str(root.absolute()), platform=platform, at=at, unused=mine)
        _FILE.write(_folder() / f"{digest([suite.root, platform])}.json", suite)


def recall(root: pathlib.Path) -> tuple[Suite, ...]:
    """Return the last whole runs with these baselines, one a platform; raise BaselineError where none is known."""
    suites = [_FILE.read(path) for path in sorted(_folder().glob("*.json"))]
    found = tuple(suite for suite in suites if suite.root == str(root.absolute()))
    if not found:
        raise BaselineError(
            f"which baselines below {root} are used is told by a run of all gates, and none is known here:"
            " no -k, -m, path or limit, and no gate that fails. Type: pytest --quantguard"
        )
    return found


def to_remove(suite: Suite) -> tuple[pathlib.Path, ...]:
    """Return what was unused and has not changed since, with the noise beside it."""
    paths = [path for name, sha256 in suite.unused.items() if (path := pathlib.Path(name)).is_file()]
    same = [path for path in paths if _sha256(path) == suite.unused[str(path)]]
    noises = [noise for path in same if path.suffix == ".json" and (noise := noise_path(path)).is_file()]
    return tuple(dict.fromkeys([*same, *noises]))


def _folder() -> pathlib.Path:
    return catalog.cache_root() / "suites"


def _sha256(path: pathlib.Path) -> str:
    return file_sha256(path) if path.is_file() else ""
