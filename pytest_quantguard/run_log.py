"""What became of every test that was collected, with a verdict or without: none is left out of a report.

Rows come on the reports of tests and, where no report brought them, when a process ends. What pytest counts as failed
or skipped and no row explains, a worker that was lost and what was never run have rows made for them here.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_quantguard import planning
from pytest_quantguard.result_log import LoggedResult, logged_on, read_logged, result_of_test

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pytest

    from quantguard.gates import GateResult

# How pytest-xdist and pytest-forked call the phase in which a process was lost.
_LOST = "???"


@dataclasses.dataclass(slots=True)
class _Test:
    """One test: its rows with the phase whose report brought them, and what pytest's own reports say of it."""

    rows: list[tuple[LoggedResult, str | None]] = dataclasses.field(default_factory=list)
    failed: dict[str, str] = dataclasses.field(default_factory=dict)
    skipped: str | None = None
    planned: bool = False
    started: bool = False
    ended: bool = False
    lost: list[str] = dataclasses.field(default_factory=list)
    retried: list[str] = dataclasses.field(default_factory=list)


class RunLog:
    """The tests of a run by their node ids."""

    def __init__(self) -> None:
        self._order: dict[str, int] = {}
        self._tests: dict[str, _Test] = {}
        self._uncollected: dict[str, str] = {}
        self._keys: set[str] = set()

    def note_collected(self, ids: Iterable[str]) -> None:
        """Take the tests that are to run, in their order; workers of xdist collect the same."""
        self._order = {nodeid: index for index, nodeid in enumerate(ids)}

    def note_uncollected(self, report: pytest.CollectReport) -> None:
        """Take a file or class whose tests could not be collected."""
        if report.failed:
            self._uncollected[report.nodeid] = _last_line(report.longreprtext)

    def note_started(self, nodeid: str) -> None:
        """Take a test that begins."""
        self._test(nodeid).started = True

    def note_report(self, report: pytest.TestReport) -> list[tuple[str, GateResult]]:
        """Take what a report says of a test; return the results that it brings."""
        test = self._test(report.nodeid)
        if report.when == _LOST:
            test.lost.append(_last_line(report.longreprtext))
        elif report.when == "setup" and test.lost:
            # A plugin has the test run again elsewhere.
            test.retried, test.lost, test.failed = [*test.retried, *test.lost], [], {}
        if report.failed and report.when != _LOST:
            test.failed[str(report.when)] = _last_line(report.longreprtext)
        if report.skipped:
            test.skipped = _skip_reason(report)
        test.planned |= hasattr(report, planning.REPORT_ATTRIBUTE)
        test.ended |= report.when == "call" or report.failed or report.skipped
        return self.take(logged_on(report), when=str(report.when))

    def take(self, texts: Sequence[str], *, when: str | None = None) -> list[tuple[str, GateResult]]:
        """Take rows, each of them once however often it comes; return those that are new."""
        found = [row for row in map(read_logged, texts) if row.key not in self._keys]
        self._keys |= {row.key for row in found}
        for row in found:
            self._test(row.test).rows.append((row, when))
        return [(row.test, row.result) for row in found]

    def results(self, *, end: str) -> list[tuple[str, GateResult]]:
        """Return every result and what stands for a missing one, by test; ``end`` is why the run ended."""
        uncollected = [
            (nodeid, result_of_test(nodeid, f"its tests could not be collected: {why}"))
            for nodeid, why in self._uncollected.items()
        ]
        tests = sorted({*self._order, *self._tests}, key=lambda nodeid: self._order.get(nodeid, len(self._order)))
        return uncollected + [
            (nodeid, result) for nodeid in tests for result in _results(nodeid, self._test(nodeid), end)
        ]

    def _test(self, nodeid: str) -> _Test:
        return self._tests.setdefault(nodeid, _Test())


def _results(nodeid: str, test: _Test, end: str) -> list[GateResult]:
    rows, retried = _told(test)
    return [
        *(_with_notes(row, retried) for row in rows),
        *(result_of_test(nodeid, f"the worker was lost: {why}") for why in test.lost),
        *(result_of_test(nodeid, f"the test failed: {why}") for why in _unexplained(test)),
        *_of_unjudged(nodeid, test, end),
    ]


def _told(test: _Test) -> tuple[list[LoggedResult], list[str]]:
    """Return the rows to be shown, and how earlier attempts ended that were made good by running the test again.

    What a test's own exception was is made good by a later attempt. A verdict is not: a gate that is run again until it
    passes would pass by luck.
    """
    # Those that no report brought come last.
    rows = sorted((row for row, _ in test.rows), key=lambda row: row.attempt)
    last = max((row.attempt for row in rows), default=0)
    ended = [row for row in rows if row.attempt < last and row.result.of_test]
    kept = [row for row in rows if row.attempt == last or not row.result.of_test]
    return kept, [*test.retried, *(row.result.verdict.reason for row in ended)]


def _with_notes(row: LoggedResult, retried: Sequence[str]) -> GateResult:
    said = [f"attempt {row.attempt} of the test; running it again clears no verdict"] if row.attempt > 1 else []
    said += [f"an earlier attempt of the test came to no end: {why}" for why in retried]
    return dataclasses.replace(row.result, notes=(*row.result.notes, *said))


def _unexplained(test: _Test) -> list[str]:
    """Return what pytest counts as failed though no row of that phase does."""
    # A policy that lets an undecided gate pass lets its test pass too, so a failed report is of something else.
    failing = {when for row, when in test.rows if row.result.fails(inconclusive="fail")}
    return [] if None in failing else [why for when, why in test.failed.items() if when not in failing]


def _of_unjudged(nodeid: str, test: _Test, end: str) -> list[GateResult]:
    """Return why a test was not judged where it was skipped, or not run to its end."""
    # An update ends a test as skipped when it has measured, a plan when it has planned, and a skip that a plugin made
    # of a failure is none.
    if test.planned or {row.result.label for row, _ in test.rows} - {"PASS", "INCONCLUSIVE"}:
        return []
    if test.skipped is not None:
        return [result_of_test(nodeid, test.skipped, unjudged="SKIPPED")]
    if test.ended or test.lost:
        return []
    reached = "while it ran" if test.started else "before it"
    return [result_of_test(nodeid, f"the run ended {reached}: {end}", unjudged="NOT RUN")]


def _skip_reason(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return f"marked xfail, and not run to its end: {report.wasxfail}"
    said = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return said.removeprefix("Skipped: ")


def _last_line(text: str) -> str:
    """Return the line that says what happened: the last of those that pytest marks, or the last."""
    lines = [line for line in text.splitlines() if line.strip()] or ["it says nothing"]
    marked = [line.removeprefix("E").strip() for line in lines if line.startswith("E  ")]
    return (marked or lines)[-1].strip()
