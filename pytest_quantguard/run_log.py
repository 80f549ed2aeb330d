"""The log of a run: what happened to each collected test, so that a report leaves none out.

Logged results arrive on the reports of tests, or at the end of a process if no report carried them. Failed or skipped
tests without such a result, lost workers and tests that never ran get a result made here.
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

# The phase that pytest-xdist and pytest-forked report if a process was lost.
_LOST = "???"


@dataclasses.dataclass(slots=True)
class _Test:
    """One test: its logged results, each with the phase of the report that carried it, and what pytest reports."""

    rows: list[tuple[LoggedResult, str | None]] = dataclasses.field(default_factory=list)
    failed: dict[str, str] = dataclasses.field(default_factory=dict)
    skipped: str | None = None
    planned: bool = False
    started: bool = False
    ended: bool = False
    lost: list[str] = dataclasses.field(default_factory=list)
    retried: list[str] = dataclasses.field(default_factory=list)


class RunLog:
    """The tests of a run, by node id."""

    def __init__(self) -> None:
        self._order: dict[str, int] = {}
        self._tests: dict[str, _Test] = {}
        self._uncollected: dict[str, str] = {}
        self._keys: set[str] = set()

    def note_collected(self, ids: Iterable[str]) -> None:
        """Record the tests that will run, in their order; xdist's workers all collect the same."""
        self._order = {nodeid: index for index, nodeid in enumerate(ids)}

    def note_uncollected(self, report: pytest.CollectReport) -> None:
        """Record a file or class whose tests could not be collected."""
        if report.failed:
            self._uncollected[report.nodeid] = _last_line(report.longreprtext)

    def note_started(self, nodeid: str) -> None:
        """Record that a test has started."""
        self._test(nodeid).started = True

    def note_report(self, report: pytest.TestReport) -> list[tuple[str, GateResult]]:
        """Record a test's report; return the results that it carries."""
        test = self._test(report.nodeid)
        if report.when == _LOST:
            test.lost.append(_last_line(report.longreprtext))
        elif report.when == "setup" and test.lost:
            # A plugin runs the test again in another process.
            test.retried, test.lost, test.failed = [*test.retried, *test.lost], [], {}
        if report.failed and report.when != _LOST:
            test.failed[str(report.when)] = _last_line(report.longreprtext)
        if report.skipped:
            test.skipped = _skip_reason(report)
        test.planned |= hasattr(report, planning.REPORT_ATTRIBUTE)
        test.ended |= report.when == "call" or report.failed or report.skipped
        return self.take(logged_on(report), when=str(report.when))

    def take(self, texts: Sequence[str], *, when: str | None = None) -> list[tuple[str, GateResult]]:
        """Record logged results, each of them once even if it arrives several times; return the new ones."""
        found = [row for row in map(read_logged, texts) if row.key not in self._keys]
        self._keys |= {row.key for row in found}
        for row in found:
            self._test(row.test).rows.append((row, when))
        return [(row.test, row.result) for row in found]

    def results(self, *, end: str) -> list[tuple[str, GateResult]]:
        """Return all results by test, with one made for each that is missing; ``end`` is why the run ended."""
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
    rows, retried = _shown(test)
    return [
        *(_with_notes(row, retried) for row in rows),
        *(result_of_test(nodeid, f"the worker was lost: {why}") for why in test.lost),
        *(result_of_test(nodeid, f"the test failed: {why}") for why in _unexplained(test)),
        *_of_unjudged(nodeid, test, end),
    ]


def _shown(test: _Test) -> tuple[list[LoggedResult], list[str]]:
    """Return the results to show, and how earlier attempts failed that a later attempt replaces.

    A later attempt replaces an exception of the test itself, but never a verdict: a gate that is run again until it
    passes would pass by luck.
    """
    # Results that no report carried arrive last, so arrival is not the order of attempts.
    rows = sorted((row for row, _ in test.rows), key=lambda row: row.attempt)
    last = max((row.attempt for row in rows), default=0)
    ended = [row for row in rows if row.attempt < last and row.result.of_test]
    kept = [row for row in rows if row.attempt == last or not row.result.of_test]
    return kept, [*test.retried, *(row.result.verdict.reason for row in ended)]


def _with_notes(row: LoggedResult, retried: Sequence[str]) -> GateResult:
    notes = [f"attempt {row.attempt} of the test; running it again clears no verdict"] if row.attempt > 1 else []
    notes += [f"an earlier attempt of the test came to no end: {why}" for why in retried]
    return dataclasses.replace(row.result, notes=(*row.result.notes, *notes))


def _unexplained(test: _Test) -> list[str]:
    """Return the failures that pytest reports in phases without a failing result."""
    # If the policy lets an undecided gate pass, its test passes too, so a failed report has another cause.
    failing = {when for row, when in test.rows if row.result.fails(inconclusive="fail")}
    return [] if None in failing else [why for when, why in test.failed.items() if when not in failing]


def _of_unjudged(nodeid: str, test: _Test, end: str) -> list[GateResult]:
    """Return why a test was not judged, if it was skipped or did not run to its end."""
    # Three kinds of skip are not one: an update skips a test after measuring, a plan after planning, and some plugins
    # turn a failure into a skip.
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
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return reason.removeprefix("Skipped: ")


def _last_line(text: str) -> str:
    """Return the line of a failure that says what happened: the last one that pytest marks with E, or the last."""
    lines = [line for line in text.splitlines() if line.strip()] or ["it says nothing"]
    marked = [line.removeprefix("E").strip() for line in lines if line.startswith("E  ")]
    return (marked or lines)[-1].strip()
