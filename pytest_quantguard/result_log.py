"""The log of this process's gate results, which keeps each result from the moment it exists.

A result travels to the controller on the report of its test. A plugin may drop or replace that report, and a thread may
outlive its test, so results that were not sent by then travel when the process ends.
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

# The attribute of a report that carries its test's results, between xdist's processes too.
REPORT_ATTRIBUTE = "quantguard_results"
_WORKER_KEY = "quantguard_rows"
_LEDGER = pytest.StashKey["ResultLog"]()


class LoggedResult(NamedTuple):
    """A gate's result with the test that it belongs to.

    Attributes:
        key: A unique id, by which a result that arrives twice is counted once.
        test: The node id of the test.
        attempt: The attempt at the test, from 1; more than 1 if a plugin runs the test again.
        result: The result.
    """

    key: str
    test: str
    attempt: int
    result: GateResult

    def as_text(self) -> str:
        """Return it as ASCII JSON, which any channel between processes can carry, even with lone surrogates in it."""
        from quantguard.records import to_json  # noqa: PLC0415 - an unrelated run does not pay for it

        return f"{self.key} {json.dumps([self.test, self.attempt, to_json(self.result)])}"


def read_logged(text: str) -> LoggedResult:
    """Parse the text of a logged result."""
    from quantguard.gates import GateResult  # noqa: PLC0415 - as above
    from quantguard.records import from_json  # noqa: PLC0415 - as above

    key, _, rest = text.partition(" ")
    test, attempt, table = json.loads(rest)
    return LoggedResult(key, test, attempt, from_json(GateResult, table))


def result_of_test(
    test: str, reason: str, *, traceback: str | None = None, unjudged: Unjudged | None = None
) -> GateResult:
    """Make a result about a whole test, by its node id: an ERROR, or the reason why nothing was judged."""
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
    """The results of one process, from any of its threads."""

    def __init__(self) -> None:
        self._rows: list[LoggedResult] = []
        self._reported: set[str] = set()
        self._sent: set[str] = set()
        self._attempts: collections.Counter[str] = collections.Counter()
        self._checking: collections.Counter[str] = collections.Counter()
        # One byte of memory that forked processes share: the only thing this process learns about them.
        self._elsewhere = mmap.mmap(-1, 1)

    def begin(self, test: str) -> None:
        """Record a new attempt at a test."""
        self._attempts[test] += 1

    @contextlib.contextmanager
    def checking(self, test: str) -> Iterator[None]:
        """Mark a check of the test as running within the block."""
        self._checking[test] += 1
        try:
            yield
        finally:
            self._checking[test] -= 1

    def is_checking(self, test: str) -> bool:
        """Tell whether a check of the test is still running, as it may be in another thread."""
        return self._checking[test] > 0

    def note_elsewhere(self) -> None:
        """Record, in a process that a test has forked, that a check was called there."""
        self._elsewhere[0] = 1

    def take_elsewhere(self) -> bool:
        """Tell whether a check was called in a forked process, and reset that."""
        found, self._elsewhere[0] = self._elsewhere[0], 0
        return bool(found)

    def record(self, test: str, result: GateResult) -> None:
        """Add a result to the log."""
        # A random key and not a counter, which forked processes would continue from the same number.
        self._rows.append(LoggedResult(uuid.uuid4().hex, test, self._attempts[test], result))

    def of_attempt(self, test: str) -> list[LoggedResult]:
        """Return the results of the current attempt at a test."""
        return [row for row in self._rows if row.test == test and row.attempt == self._attempts[test]]

    def of_earlier_attempts(self, test: str) -> list[LoggedResult]:
        """Return the results of earlier attempts at a test."""
        return [row for row in self._rows if row.test == test and row.attempt < self._attempts[test]]

    def take(self, test: str) -> list[LoggedResult]:
        """Return the results of a test that no report carries yet, and count them as carried."""
        found = [row for row in self._rows if row.test == test and row.key not in self._reported]
        self._reported |= {row.key for row in found}
        return found

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record which results a report carries to the controller."""
        self._sent |= {text.partition(" ")[0] for text in logged_on(report)}

    def unsent(self) -> list[str]:
        """Return the results that no report carried, as texts."""
        return [row.as_text() for row in self._rows if row.key not in self._sent]


def result_log_of(config: pytest.Config) -> ResultLog:
    """Return the result log of this process."""
    return config.stash.setdefault(_LEDGER, ResultLog())


def logged_on(report: object) -> list[str]:
    """Return the results that a report carries, as texts."""
    return getattr(report, REPORT_ATTRIBUTE, [])


def hand_over(config: Any) -> None:
    """Hand unsent results over to the controller, if this process is a worker of xdist."""
    if hasattr(config, "workeroutput") and _LEDGER in config.stash:
        config.workeroutput[_WORKER_KEY] = result_log_of(config).unsent()


def handed_over(node: Any) -> list[str]:
    """Return the results that a worker handed over; a crashed worker hands over none."""
    rows: list[str] = getattr(node, "workeroutput", {}).get(_WORKER_KEY, [])
    return rows
