"""Runs that did not pass, kept for a day, so that a gate that is run again is judged with them and not instead of them.

A file belongs to one gate: the baseline that it has, and everything that its answers depend on but the seed. A change
of the model, the recipe, the versions, the machine or quantguard itself begins a new one.
"""

import dataclasses
import datetime as dt
import pathlib

import filelock

from quantguard import catalog
from quantguard.errors import MeasurementError, RecordError
from quantguard.gates import EarlierRun
from quantguard.pipeline.generation_store import Told, refuse
from quantguard.records.sealed_file import SealedFile

LONGEST_MEMORY = dt.timedelta(days=1)
# It is held while one small file is read and written.
_LOCK_SECONDS = 60


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Memory:
    """What the file of a gate holds, the oldest run first."""

    runs: tuple[EarlierRun, ...]

    def __post_init__(self) -> None:
        for run in self.runs:
            try:
                dt.datetime.fromisoformat(run.at)
            except ValueError as error:
                raise RecordError(f"a run has the time {run.at!r}: {error}") from error


_FILE = SealedFile(
    record=_Memory,
    error=MeasurementError,
    damaged="the earlier runs in {path} are damaged: {problem}. Type: rm -r '{path}'",
)


@dataclasses.dataclass(frozen=True, slots=True)
class RerunStore:
    """The files under a folder. ``fresh`` leaves out what was there before this process began.

    ``told`` is told where a run cannot be remembered, which leaves its verdict as it is; absent, that raises
    MeasurementError.
    """

    folder: pathlib.Path = dataclasses.field(default_factory=lambda: catalog.cache_root() / "reruns")
    fresh: bool = False
    began: dt.datetime = dataclasses.field(default_factory=_now)
    told: Told = refuse

    def earlier(self, key: str) -> tuple[EarlierRun, ...]:
        """Return the runs of the last day that did not pass, the oldest first; raise MeasurementError for damage."""
        path = self._path(key)
        if not path.exists():
            return ()
        oldest = self.began if self.fresh else _now() - LONGEST_MEMORY
        return tuple(run for run in _FILE.read(path).runs if dt.datetime.fromisoformat(run.at) >= oldest)

    def remember(self, key: str, run: EarlierRun) -> None:
        """Put a run that did not pass beside the earlier ones, at once and atomically."""
        path = self._path(key)
        # Without flock the library would fall back to a file that a crashed holder leaves behind for ever.
        lock = filelock.FileLock(path.with_suffix(".lock"), timeout=_LOCK_SECONDS, fallback_to_soft=False)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with lock:
                _FILE.write(path, _Memory(runs=(*self.earlier(key), run)))
        except (OSError, NotImplementedError) as error:
            self.told(
                f"a run that did not pass cannot be remembered: {error}. The next one would be judged without it. Make"
                f" room in {path.parent}, or name another folder: QUANTGUARD_CACHE=DIR"
            )

    def forget(self, key: str) -> None:
        """Drop the runs of a gate that has passed together with them."""
        path = self._path(key)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self.told(f"runs that a PASS has cleared cannot be dropped: {error}. Type: rm '{path}'")

    def _path(self, key: str) -> pathlib.Path:
        return self.folder / f"{key}.json"
