"""The enforcement of verdicts: neither a test, a plugin nor ``xfail`` can soften them.

pytest's report of a test fails if a verdict fails, so that pytest's counts, JUnit and the exit code agree. A test that
ends with an exception of its own gets a result of its own.
"""

from __future__ import annotations

import dataclasses
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

import pytest

from pytest_quantguard.result_log import REPORT_ATTRIBUTE, LoggedResult, result_log_of, result_of_test

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from quantguard.gates import GateResult

_STILL_CHECKING = (
    "guard.check() was not at its end when the test was: a thread goes on with it. Wait for the thread in the test, as"
    " with concurrent.futures: executor.submit(guard.check, …).result()"
)
_ELSEWHERE = (
    "guard.check() was called in a process that the test has forked, whose verdict nobody hears of. Call it in the"
    " test's own process, or in a thread of it"
)
# The packages whose frames surround a test; the part of a traceback that readers need begins below them.
_MACHINERY = ("_pytest", "pluggy", "pytest_quantguard")
# The largest number of characters of an exception's message within a reason.
_LONGEST = 2000
# Marks an exception that is already part of a gate's result.
_RECORDED = "quantguard_recorded"
_AROUND = {"setup": "a fixture failed", "teardown": "what tears the test down failed"}
# The styles of --tb that show no traceback.
_BRIEF = ("no", "line")


class GateFailed(pytest.fail.Exception):  # type: ignore[misc,name-defined] # an attribute of a function
    """Ends a test whose gate has failed; the gate's result has the details."""

    # pytest's summary prefixes exceptions with their module, and the verdict needs that room.
    __module__ = "builtins"


def fail(item: pytest.Item, results: Sequence[GateResult]) -> NoReturn:
    """End the test as failed by these results; raises GateFailed."""
    raise GateFailed(_as_text(item, results), pytrace=False)


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an exception without the frames of pytest at its start."""
    frames: TracebackType | None = error.__traceback__
    while frames is not None and _is_machinery(frames):
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames or error.__traceback__))


def message_of(error: BaseException) -> str:
    """Return the name and message of an exception, cut to a length; it is safe even if its ``__str__`` raises."""
    message = "".join(traceback.TracebackException(type(error), error, None).format_exception_only()).strip()
    return message if len(message) <= _LONGEST else f"{message[:_LONGEST]}…"


def note_recorded(error: BaseException) -> None:
    """Mark an exception that will end the test as already recorded in a gate's result."""
    vars(error)[_RECORDED] = True


def note_exception(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Log a result for an exception that ends a phase of a test and is neither a verdict nor a skip."""
    log = result_log_of(item.config)
    if call.when == "teardown" and log.is_checking(item.nodeid):
        log.record(item.nodeid, result_of_test(item.nodeid, _STILL_CHECKING))
    if log.take_elsewhere():
        log.record(item.nodeid, result_of_test(item.nodeid, _ELSEWHERE))
    error = None if call.excinfo is None else call.excinfo.value
    if error is not None and not isinstance(error, GateFailed) and not _is_skip(error) and _RECORDED not in vars(error):
        reason = f"{_ended_by(call.when, error)}: {_message(error)}"
        log.record(item.nodeid, result_of_test(item.nodeid, reason, traceback=traceback_of(error)))


def hold_to_verdicts(item: pytest.Item, report: pytest.TestReport) -> None:
    """Put the test's results on its report, and make the report fail if one of them fails."""
    log = result_log_of(item.config)
    rows = log.take(item.nodeid)
    reason = _xfail_reason(item, report)
    if reason is not None:
        rows = [_marked(row, reason) for row in rows]
    for row in rows:
        # The item's properties pass to its later reports, and JUnit reads those of the last one.
        properties = list(junit_properties(row.result).items())
        item.user_properties += properties
        report.user_properties += properties
    if rows:
        vars(report)[REPORT_ATTRIBUTE] = [row.as_text() for row in rows]
    # Running a test again does not clear a verdict: it would turn red to green by luck.
    before = [row for row in log.of_earlier_attempts(item.nodeid) if not row.result.of_test]
    failing = _failing(item, rows) or (_failing(item, before) if report.when == "call" else [])
    if failing and not report.failed:
        report.longrepr = f"{_as_text(item, failing)}\n{_why_failed(report, reason)}"
        report.outcome = "failed"
        vars(report).pop("wasxfail", None)


def junit_properties(result: GateResult) -> dict[str, object]:
    """Return the properties of a result for JUnit, which takes scalars only."""
    from quantguard.report.visible_text import visible  # noqa: PLC0415 - an unrelated run does not pay for it

    verdict = dataclasses.asdict(result.verdict) | {"traceback": result.traceback}
    prefix = f"quantguard.{result.gate}"
    named = {f"{prefix}.{key}": value for key, value in verdict.items() if value is not None}
    target = {} if result.of_test else {f"{prefix}.model": result.model, f"{prefix}.recipe": result.recipe}
    notes = {f"{prefix}.notes": "\n".join(result.notes)} if result.notes else {}
    # A lone surrogate would break the connection of an xdist worker.
    return {key: visible(value) if isinstance(value, str) else value for key, value in (target | named | notes).items()}


def _as_text(item: pytest.Item, results: Sequence[GateResult]) -> str:
    """Return results as text, with tracebacks if --tb asks for them."""
    from quantguard.report import plain_text  # noqa: PLC0415 - an unrelated run does not pay for it

    brief = item.config.getoption("tbstyle", "auto") in _BRIEF
    return "\n".join(plain_text.gate_lines(results, with_tracebacks=not brief))


def _failing(item: pytest.Item, rows: Sequence[LoggedResult]) -> list[GateResult]:
    inconclusive = item.config.getoption("--quantguard-inconclusive")
    return [row.result for row in rows if row.result.fails(inconclusive=inconclusive)]


def _why_failed(report: pytest.TestReport, xfail_reason: str | None) -> str:
    if xfail_reason is not None:
        return "The test is marked xfail, which softens no verdict."
    ended = "was skipped" if report.skipped else "went on and passed"
    return f"The test {ended}, which changes no verdict of its gates."


def _marked(row: LoggedResult, reason: str) -> LoggedResult:
    note = f"its test is marked xfail{f' ({reason})' if reason else ''}, which softens no verdict"
    return row._replace(result=dataclasses.replace(row.result, notes=(*row.result.notes, note)))


def _xfail_reason(item: pytest.Item, report: pytest.TestReport) -> str | None:
    """Return the reason of a test's xfail, which may be empty; None if no xfail applies."""
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail)
    for mark in item.iter_markers("xfail"):
        condition = mark.args[0] if mark.args else mark.kwargs.get("condition", True)
        # pytest evaluates a condition that is a string; if it holds, the report has ``wasxfail``.
        if not isinstance(condition, str) and condition:
            return str(mark.kwargs.get("reason", ""))
    return None


def _is_machinery(frames: TracebackType) -> bool:
    return str(frames.tb_frame.f_globals.get("__name__", "")).partition(".")[0] in _MACHINERY


def _is_skip(error: BaseException) -> bool:
    """Tell whether an exception is a skip or pytest.xfail(), which ends a test in the same way."""
    unittest = sys.modules.get("unittest")
    skips = (pytest.skip.Exception, pytest.xfail.Exception)
    return isinstance(error, skips) or (unittest is not None and isinstance(error, unittest.SkipTest))


def _ended_by(when: str, error: BaseException) -> str:
    """Name the phase in which an exception ended a test, and the kind of exception."""
    if when in _AROUND:
        return _AROUND[when]
    if isinstance(error, AssertionError):
        return "the test's own assertion failed"
    return "the test failed" if isinstance(error, pytest.fail.Exception) else "the test raised an exception"


def _message(error: BaseException) -> str:
    """Return the message of an exception, without the class name of a failed assertion or pytest.fail()."""
    if isinstance(error, pytest.FixtureLookupError):
        return f"there is no fixture {error.argname!r}"
    message = message_of(error)
    for name in ("AssertionError", "Failed"):
        message = message.removeprefix(f"{name}: ")
    return message
