"""What the gates of this process found, kept from the moment that it is known, whatever becomes of their test.

A result goes to the controller on the report of its test. A plugin may drop that report or make another, and a thread
may outlive its test; what was not sent by then goes when the process ends.
"""

from __future__ import annotations

import collections
import contextlib
import json
import mmap
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantguard.gates import GateResult, Unjudged

# Under this name the rows of a test travel on its report, between xdist's processes too.
REPORT_ATTRIBUTE = "quantguard_results"
_WORKER_KEY = "quantguard_rows"
_LEDGER = pytest.StashKey["ResultLog"]()


class LoggedResult(NamedTuple):
    """A result with the test that it came from; ``attempt`` counts from one where a plugin runs a test again."""

    key: str
    test: str
    attempt: int
    result: GateResult

    def as_text(self) -> str:
        """Return the row as JSON in ASCII, which any channel between processes takes, halves of characters too."""
        from quantguard.records import to_json  # noqa: PLC0415 - an unrelated run does not pay for it

        return f"{self.key} {json.dumps([self.test, self.attempt, to_json(self.result)])}"


def read_logged(text: str) -> LoggedResult:
    """Return the row of a text."""
    from quantguard.gates import GateResult  # noqa: PLC0415 - as above
    from quantguard.records import from_json  # noqa: PLC0415 - as above

    key, _, rest = text.partition(" ")
    test, attempt, table = json.loads(rest)
    return LoggedResult(key, test, attempt, from_json(GateResult, table))


def result_of_test(
    test: str, reason: str, *, traceback: str | None = None, unjudged: Unjudged | None = None
) -> GateResult:
    """Return what is to be said of a test as a whole, by its node id: an ERROR, or why nothing was judged."""
    from quantguard.gates import TEST, GateResult  # noqa: PLC0415 - as above
    from quantguard.records import Verdict  # noqa: PLC0415 - as above

    return GateResult(
        gate=TEST,
        model="",
        recipe="",
        subject=test.rpartition("::")[2],
        platform="",
        verdict=Verdict(outcome="ERROR", metric=TEST, reason=reason),
        traceback=traceback,
        unjudged=unjudged,
    )


class ResultLog:
    """The rows of one process, from any of its threads."""

    def __init__(self) -> None:
        self._rows: list[LoggedResult] = []
        self._reported: set[str] = set()
        self._sent: set[str] = set()
        self._attempts: collections.Counter[str] = collections.Counter()
        self._checking: collections.Counter[str] = collections.Counter()
        # A byte that forked processes share: all that is heard of what they do.
        self._elsewhere = mmap.mmap(-1, 1)

    def begin(self, test: str) -> None:
        """Note that a test is set up, for the first time or again."""
        self._attempts[test] += 1

    @contextlib.contextmanager
    def checking(self, test: str) -> Iterator[None]:
        """Note that a check goes on within the block."""
        self._checking[test] += 1
        try:
            yield
        finally:
            self._checking[test] -= 1

    def is_checking(self, test: str) -> bool:
        """Tell whether a check goes on, which another thread then does."""
        return self._checking[test] > 0

    def note_elsewhere(self) -> None:
        """Note, in a process that a test has forked, that it was to check."""
        self._elsewhere[0] = 1

    def take_elsewhere(self) -> bool:
        """Tell, once, whether a forked process was to check."""
        found, self._elsewhere[0] = self._elsewhere[0], 0
        return bool(found)

    def record(self, test: str, result: GateResult) -> None:
        """Keep a result."""
        # Not a number that a process counts up: forked ones would count alike.
        self._rows.append(LoggedResult(uuid.uuid4().hex, test, self._attempts[test], result))

    def of_attempt(self, test: str) -> list[LoggedResult]:
        """Return the rows of the attempt that goes on."""
        return [row for row in self._rows if row.test == test and row.attempt == self._attempts[test]]

    def of_earlier_attempts(self, test: str) -> list[LoggedResult]:
        """Return the rows of the attempts before."""
        return [row for row in self._rows if row.test == test and row.attempt < self._attempts[test]]

    def take(self, test: str) -> list[LoggedResult]:
        """Return the rows of a test that no report has yet."""
        found = [row for row in self._rows if row.test == test and row.key not in self._reported]
        self._reported |= {row.key for row in found}
        return found

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note which rows are on their way to the controller, or there."""
        self._sent |= {text.partition(" ")[0] for text in logged_on(report)}

    def unsent(self) -> list[str]:
        """Return the rows that no report has made known, as texts."""
        return [row.as_text() for row in self._rows if row.key not in self._sent]


def result_log_of(config: pytest.Config) -> ResultLog:
    """Return the ledger of this process."""
    return config.stash.setdefault(_LEDGER, ResultLog())


def logged_on(report: object) -> list[str]:
    """Return the rows that a report carries, as texts."""
    return getattr(report, REPORT_ATTRIBUTE, [])


def hand_over(config: Any) -> None:
    """Leave what was not sent to the controller, where this process is a worker of xdist."""
    if hasattr(config, "workeroutput") and _LEDGER in config.stash:
        config.workeroutput[_WORKER_KEY] = result_log_of(config).unsent()


def handed_over(node: Any) -> list[str]:
    """Return what a worker left; one that crashed leaves nothing."""
    rows: list[str] = getattr(node, "workeroutput", {}).get(_WORKER_KEY, [])
    return rows
