"""Answers that are kept on disk while a run lasts, so that one that is broken off goes on where it stopped.

They are named by everything that they depend on: model, recipe, decoding, seed, engine, versions, machine and the
source files of quantguard that made them. A candidate's answers are kept until the whole run has come to its end, for a
day at most, and are never used again after that: to gate is to measure. Answers of full precision that gates compare
with stay, so that a reference is not run twice.
"""

import contextlib
import dataclasses
import datetime as dt
import functools
import hashlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, Literal

import filelock

from quantguard import catalog
from quantguard.engines._prompting import Request
from quantguard.errors import MeasurementError
from quantguard.records import Generation
from quantguard.records.answer_file import FOLDER, NAME, AnswerFile
from quantguard.records.codec import digest

# How long what a broken run left may be gone on with.
LONGEST_BREAK = dt.timedelta(days=1)
# Until the run has come to its end, or for good.
Policy = Literal["resume", "keep"]


# Told of what failed.
Told = Callable[[str], None]


def refuse(text: str) -> None:
    """Raise MeasurementError."""
    raise MeasurementError(text)


class KeptAnswers:
    """The answers of one subject under one decoding; ``began`` is when the first of them was asked for."""

    def __init__(self, run: str, began: dt.datetime, answers: dict[str, Generation], told: Told) -> None:
        self.run, self.began = run, began
        self.complete = False
        self._told, self._broken = told, False
        self._answers = answers
        self._given: set[str] = set()
        self._file: AnswerFile | None = None

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
        """Write an answer down at once; nothing more is written once that failed."""
        self._answers[key_of(request)] = generation
        if self._broken or self._file is None:
            return
        try:
            self._file.put(self.run, key_of(request), generation)
        except (OSError, MeasurementError) as error:
            self._broken = True
            self._told(_not_kept(error))

    @contextlib.contextmanager
    def written_to(self, file: AnswerFile) -> Iterator[None]:
        """Write what is put within the block into a file."""
        self._file = file
        try:
            yield
        finally:
            self._file = None

    def __len__(self) -> int:
        """Count the answers."""
        return len(self._answers)


@dataclasses.dataclass(frozen=True, slots=True)
class GenerationStore:
    """The answers under a folder, and those that this run has used.

    Attributes:
        folder: Where the file of answers lies.
        fresh: Whether nothing is taken from earlier runs.
        told: Told where answers cannot be kept, which no verdict needs; absent, that raises MeasurementError.
    """

    folder: pathlib.Path = dataclasses.field(default_factory=lambda: catalog.cache_root() / FOLDER)
    fresh: bool = False
    told: Told = refuse
    _used: list[tuple[Policy, KeptAnswers]] = dataclasses.field(default_factory=list)

    @contextlib.contextmanager
    def answers_of(self, facts: dict[str, Any], policy: Policy) -> Iterator[KeptAnswers | None]:
        """Open the answers of what ``facts`` describe, which are complete where the block ends well.

        None where another process is at them: both then measure, and only the other keeps. None too where they cannot
        be written, once that was told.
        """
        facts = facts | {"sources": own_sources()}
        run = digest([policy, facts])
        with contextlib.ExitStack() as stack:
            kept = self._take(stack, run, facts, policy)
            yield kept
            if kept is not None:
                kept.complete = True

    def settle(self) -> None:
        """End the run: what was kept only to go on with goes, unless something is still missing."""
        done = [kept for policy, kept in self._used if policy == "resume"]
        if not done or not all(kept.complete for _, kept in self._used):
            return
        try:
            with AnswerFile(self.folder / NAME) as file:
                for kept in done:
                    file.drop(kept.run)
        except (OSError, MeasurementError) as error:
            self.told(
                f"answers that this run is done with cannot be removed, and the next one would go on with them:"
                f" {error}. Type: rm '{self.folder / NAME}'*"
            )
        else:
            self._used[:] = [(policy, kept) for policy, kept in self._used if policy != "resume"]

    def num_kept(self) -> int:
        """Count the answers that this run can be gone on with."""
        return sum(len(kept) for _, kept in self._used)

    def _take(self, stack: contextlib.ExitStack, run: str, facts: dict[str, Any], policy: Policy) -> KeptAnswers | None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Without flock the library would fall back to a file that a crashed holder leaves behind for ever.
            lock = filelock.FileLock(self.folder / f"{run}.lock", blocking=False, fallback_to_soft=False)
            stack.enter_context(lock)
            file = stack.enter_context(AnswerFile(self.folder / NAME))
            kept = self._open(file, run, facts, policy)
        except filelock.Timeout:
            return None
        except (OSError, NotImplementedError) as error:
            self.told(_not_kept(error))
            return None
        stack.enter_context(kept.written_to(file))
        return kept

    def _open(self, file: AnswerFile, run: str, facts: dict[str, Any], policy: Policy) -> KeptAnswers:
        known = next((kept for _, kept in self._used if kept.run == run), None)
        if known is not None:
            if policy == "resume":
                known.forget()
            return known
        began, now = None if self.fresh else file.began(run), dt.datetime.now(dt.UTC)
        if began is None or (policy == "resume" and now - began > LONGEST_BREAK):
            file.begin(run, now, facts)
            began = now
        kept = KeptAnswers(run, began, file.answers(run), self.told)
        self._used.append((policy, kept))
        return kept


def key_of(request: Request) -> str:
    """Name a request by all that tells it from others of its run."""
    return digest([request.sample_id, request.epoch, request.text])


def _not_kept(error: Exception) -> str:
    return (
        f"answers cannot be kept: {error}. A run that is broken off would begin anew. Make room there, or name another"
        " folder: QUANTGUARD_CACHE=DIR"
    )


@functools.cache
def own_sources() -> str:
    """Hash what quantguard is made of: answers of a kernel or recipe that has changed since are not gone on with."""
    root = pathlib.Path(__file__).parents[1]
    files = sorted(file for pattern in ("*.py", "*.toml") for file in root.rglob(pattern))
    return digest([[str(file.relative_to(root)), hashlib.sha256(file.read_bytes()).hexdigest()] for file in files])
