"""Answers that are kept on disk while a run lasts, so that one that is broken off goes on where it stopped.

A shelf is a file of JSON lines, named by everything that its answers depend on: model, recipe, decoding, seed, engine,
versions, machine and the source files of quantguard that made them. A candidate's answers are kept until the whole run
has come to its end, for a day at most, and are never used again after that: to gate is to measure. Answers of full
precision that gates compare with stay, so that a reference is not run twice.
"""

import contextlib
import dataclasses
import datetime as dt
import functools
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, Literal

import filelock

from quantguard import catalog
from quantguard.engines._prompting import Request
from quantguard.errors import MeasurementError, RecordError
from quantguard.records import Generation, from_json, to_json
from quantguard.records.codec import digest
from quantguard.records.files import parse_json, seal, unseal

# How long what a broken run left may be gone on with.
LONGEST_BREAK = dt.timedelta(days=1)
# Until the run has come to its end, or for good.
Policy = Literal["resume", "keep"]


# Told of what failed.
Told = Callable[[str], None]


def refuse(text: str) -> None:
    """Raise MeasurementError."""
    raise MeasurementError(text)


class Shelf:
    """The answers of one subject under one decoding; ``began`` is when the first of them was asked for."""

    def __init__(self, path: pathlib.Path, began: dt.datetime, answers: dict[str, Generation], told: Told) -> None:
        self.path, self.began = path, began
        self.complete = False
        self._told, self._broken = told, False
        self._answers = answers
        self._given: set[str] = set()

    def find(self, request: Request) -> Generation | None:
        """Return the answer to a request, where there is one."""
        self._given.add(key_of(request))
        return self._answers.get(key_of(request))

    def forget(self) -> None:
        """Drop the answers that were given in this run: what is measured twice in it is measured twice."""
        self.complete = False
        for key in self._given:
            self._answers.pop(key, None)
        self._given.clear()

    def put(self, request: Request, generation: Generation) -> None:
        """Write an answer down at once; nothing more is written once that failed, behind half of a line."""
        self._answers[key_of(request)] = generation
        if self._broken:
            return
        try:
            with self.path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(_line({"request": key_of(request), "generation": to_json(generation)}))
        except OSError as error:
            self._broken = True
            self._told(_not_kept(self.path, error))

    def __len__(self) -> int:
        """Count the answers."""
        return len(self._answers)


@dataclasses.dataclass(frozen=True, slots=True)
class GenerationStore:
    """The shelves under a folder, and those that this run has used. ``fresh`` begins every one of them anew.

    ``told`` is told where answers cannot be kept, which no verdict needs; absent, that raises MeasurementError.
    """

    folder: pathlib.Path = dataclasses.field(default_factory=lambda: catalog.cache_root() / "generations")
    fresh: bool = False
    told: Told = refuse
    _used: list[tuple[Policy, Shelf]] = dataclasses.field(default_factory=list)

    @contextlib.contextmanager
    def shelf(self, facts: dict[str, Any], policy: Policy) -> Iterator[Shelf | None]:
        """Open the shelf of what ``facts`` describe, which is complete where the block ends well.

        None where another process has it open: both then measure, and only the other keeps. None too where it cannot be
        written, once that was told.
        """
        facts = facts | {"sources": own_sources()}
        path = self.folder / f"{digest([policy, facts])}.jsonl"
        # Without flock the library would fall back to a file that a crashed holder leaves behind for ever.
        lock = filelock.FileLock(path.with_suffix(".lock"), blocking=False, fallback_to_soft=False)
        try:
            shelf = self._take(lock, path, facts, policy)
            yield shelf
            if shelf is not None:
                shelf.complete = True
        finally:
            lock.release()

    def settle(self) -> None:
        """End the run: what was kept only to go on with goes, unless something is still missing."""
        if all(shelf.complete for _, shelf in self._used):
            for policy, shelf in self._used:
                if policy == "resume":
                    self._drop(shelf.path)

    def num_kept(self) -> int:
        """Count the answers that this run can be gone on with."""
        return sum(len(shelf) for _, shelf in self._used if shelf.path.is_file())

    def _drop(self, path: pathlib.Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self.told(
                f"answers that this run is done with cannot be removed, and the next one would go on with them:"
                f" {error}. Type: rm '{path}'"
            )

    def _take(
        self, lock: filelock.BaseFileLock, path: pathlib.Path, facts: dict[str, Any], policy: Policy
    ) -> Shelf | None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            return self._open(path, facts, policy)
        except filelock.Timeout:
            return None
        except (OSError, NotImplementedError) as error:
            self.told(_not_kept(path, error))
            return None

    def _open(self, path: pathlib.Path, facts: dict[str, Any], policy: Policy) -> Shelf:
        known = next((shelf for _, shelf in self._used if shelf.path == path), None)
        if known is not None:
            if policy == "resume":
                known.forget()
            return known
        shelf = None if self.fresh else _read(path, self.told)
        now = dt.datetime.now(dt.UTC)
        if shelf is None or (policy == "resume" and now - shelf.began > LONGEST_BREAK):
            shelf = Shelf(path, now, {}, self.told)
            path.write_text(_line({"began": now.isoformat(), "facts": facts}), encoding="utf-8")
        self._used.append((policy, shelf))
        return shelf


def key_of(request: Request) -> str:
    """Name a request by all that tells it from others of its run."""
    return digest([request.sample_id, request.epoch, request.text])


def _not_kept(path: pathlib.Path, error: Exception) -> str:
    return (
        f"answers cannot be kept: {error}. A run that is broken off would begin anew. Make room in {path.parent}, or"
        " name another folder: QUANTGUARD_CACHE=DIR"
    )


def _line(table: dict[str, Any]) -> str:
    return json.dumps(seal(table), ensure_ascii=False) + "\n"


def _read(path: pathlib.Path, told: Told) -> Shelf | None:
    """Read a shelf; the line that a killed process left half written is taken off."""
    if not path.exists():
        return None
    try:
        lines = path.read_bytes().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            path.write_bytes(b"".join(lines[:-1]))
            lines.pop()
        rows = [unseal(parse_json(line.decode())) for line in lines]
        if not rows:
            return None
        began = dt.datetime.fromisoformat(rows[0]["began"])
        answers = {str(row["request"]): from_json(Generation, row["generation"]) for row in rows[1:]}
    except (OSError, ValueError, KeyError, TypeError, RecordError) as error:
        raise MeasurementError(f"the kept answers in {path} are damaged: {error}. Type: rm -r '{path}'") from error
    return Shelf(path, began, answers, told)


@functools.cache
def own_sources() -> str:
    """Hash what quantguard is made of: answers of a kernel or recipe that has changed since are not gone on with."""
    root = pathlib.Path(__file__).parents[1]
    files = sorted(file for pattern in ("*.py", "*.toml") for file in root.rglob(pattern))
    return digest([[str(file.relative_to(root)), hashlib.sha256(file.read_bytes()).hexdigest()] for file in files])
