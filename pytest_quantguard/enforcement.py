"""What a test, a plugin or ``xfail`` makes of the verdicts of a test's gates: nothing.

pytest's own report of a test fails where a verdict does, so that its counts, JUnit and the exit code say the same. A
test that ends by an exception that is no verdict has a row of its own.
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
# The machinery around a test: what a reader looks for begins below it.
_MACHINERY = ("_pytest", "pluggy", "pytest_quantguard")
# The most characters of an exception's message within a reason.
_LONGEST = 2000
# Marks an exception that a gate's row has told of already.
_RECORDED = "quantguard_recorded"
_AROUND = {"setup": "a fixture failed", "teardown": "what tears the test down failed"}
# Styles of --tb that show less than a traceback.
_BRIEF = ("no", "line")


class GateFailed(pytest.fail.Exception):  # type: ignore[misc,name-defined] # an attribute of a function
    """Ends a test whose gate is not met; the gate's row says all of it."""

    # As pytest's own, so that its summary has room for the verdict.
    __module__ = "builtins"


def fail(item: pytest.Item, results: Sequence[GateResult]) -> NoReturn:
    """End the test as failed by these results; raises GateFailed."""
    raise GateFailed(_told(item, results), pytrace=False)


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an exception from where pytest's machinery ends."""
    frames: TracebackType | None = error.__traceback__
    while frames is not None and _is_machinery(frames):
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames or error.__traceback__))


def message_of(error: BaseException) -> str:
    """Return the name of an exception and what it says, whatever its ``__str__`` does; the traceback has all of it."""
    said = "".join(traceback.TracebackException(type(error), error, None).format_exception_only()).strip()
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"


def note_recorded(error: BaseException) -> None:
    """Mark an exception that goes on to end the test as one that a gate's row tells of."""
    vars(error)[_RECORDED] = True


def note_exception(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Keep a row for an exception that ends a phase of a test and is neither a verdict nor a skip."""
    ledger = result_log_of(item.config)
    if call.when == "teardown" and ledger.is_checking(item.nodeid):
        ledger.record(item.nodeid, result_of_test(item.nodeid, _STILL_CHECKING))
    if ledger.take_elsewhere():
        ledger.record(item.nodeid, result_of_test(item.nodeid, _ELSEWHERE))
    error = None if call.excinfo is None else call.excinfo.value
    if error is not None and not isinstance(error, GateFailed) and not _is_skip(error) and _RECORDED not in vars(error):
        reason = f"{_ended_by(call.when, error)}: {_message(error)}"
        ledger.record(item.nodeid, result_of_test(item.nodeid, reason, traceback=traceback_of(error)))


def hold_to_verdicts(item: pytest.Item, report: pytest.TestReport) -> None:
    """Send the rows along with the report, which fails where one of them does, whatever was made of it."""
    ledger = result_log_of(item.config)
    rows = ledger.take(item.nodeid)
    reason = _xfail_reason(item, report)
    if reason is not None:
        rows = [_marked(row, reason) for row in rows]
    for row in rows:
        # The test's later reports bear them too; JUnit reads those of the last.
        properties = list(junit_properties(row.result).items())
        item.user_properties += properties
        report.user_properties += properties
    if rows:
        vars(report)[REPORT_ATTRIBUTE] = [row.as_text() for row in rows]
    # A test that is run again does not clear a verdict: that would be a way from red to green by luck.
    before = [row for row in ledger.of_earlier_attempts(item.nodeid) if not row.result.of_test]
    failing = _failing(item, rows) or (_failing(item, before) if report.when == "call" else [])
    if failing and not report.failed:
        report.longrepr = f"{_told(item, failing)}\n{_why_failed(report, reason)}"
        report.outcome = "failed"
        vars(report).pop("wasxfail", None)


def junit_properties(result: GateResult) -> dict[str, object]:
    """Return what JUnit keeps of a result, scalars only."""
    from quantguard.report.visible_text import visible  # noqa: PLC0415 - an unrelated run does not pay for it

    verdict = dataclasses.asdict(result.verdict) | {"traceback": result.traceback}
    prefix = f"quantguard.{result.gate}"
    named = {f"{prefix}.{key}": value for key, value in verdict.items() if value is not None}
    target = {} if result.of_test else {f"{prefix}.model": result.model, f"{prefix}.recipe": result.recipe}
    notes = {f"{prefix}.notes": "\n".join(result.notes)} if result.notes else {}
    # A half of a character would end the connection of an xdist worker.
    return {key: visible(value) if isinstance(value, str) else value for key, value in (target | named | notes).items()}


def _told(item: pytest.Item, results: Sequence[GateResult]) -> str:
    """Return results as text, with the tracebacks that --tb asks for."""
    from quantguard.report import plain_text  # noqa: PLC0415 - an unrelated run does not pay for it

    brief = item.config.getoption("tbstyle", "auto") in _BRIEF
    return "\n".join(plain_text.gate_lines(results, with_tracebacks=not brief))


def _failing(item: pytest.Item, rows: Sequence[LoggedResult]) -> list[GateResult]:
    inconclusive = item.config.getoption("--quantguard-inconclusive")
    return [row.result for row in rows if row.result.fails(inconclusive=inconclusive)]


def _why_failed(report: pytest.TestReport, xfail_reason: str | None) -> str:
    if xfail_reason is not None:
        return "The test is marked xfail, which softens no verdict."
    made = "was skipped" if report.skipped else "went on and passed"
    return f"The test {made}, which changes no verdict of its gates."


def _marked(row: LoggedResult, reason: str) -> LoggedResult:
    said = f"its test is marked xfail{f' ({reason})' if reason else ''}, which softens no verdict"
    return row._replace(result=dataclasses.replace(row.result, notes=(*row.result.notes, said)))


def _xfail_reason(item: pytest.Item, report: pytest.TestReport) -> str | None:
    """Return the reason of a test's xfail, which may be empty; None where there is none that applies."""
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail)
    for mark in item.iter_markers("xfail"):
        condition = mark.args[0] if mark.args else mark.kwargs.get("condition", True)
        # A condition in a text is pytest's to work out: where it holds, the report says so.
        if not isinstance(condition, str) and condition:
            return str(mark.kwargs.get("reason", ""))
    return None


def _is_machinery(frames: TracebackType) -> bool:
    return str(frames.tb_frame.f_globals.get("__name__", "")).partition(".")[0] in _MACHINERY


def _is_skip(error: BaseException) -> bool:
    """Tell whether an exception is a skip, or pytest.xfail(), which is one by another name."""
    unittest = sys.modules.get("unittest")
    skips = (pytest.skip.Exception, pytest.xfail.Exception)
    return isinstance(error, skips) or (unittest is not None and isinstance(error, unittest.SkipTest))


def _ended_by(when: str, error: BaseException) -> str:
    """Say in which phase of a test an exception ended it, and what kind it is of."""
    if when in _AROUND:
        return _AROUND[when]
    if isinstance(error, AssertionError):
        return "the test's own assertion failed"
    return "the test failed" if isinstance(error, pytest.fail.Exception) else "the test raised an exception"


def _message(error: BaseException) -> str:
    """Return what an exception says; a failed assertion or pytest.fail() needs no name before it."""
    if isinstance(error, pytest.FixtureLookupError):
        return f"there is no fixture {error.argname!r}"
    said = message_of(error)
    for name in ("AssertionError", "Failed"):
        said = said.removeprefix(f"{name}: ")
    return said
