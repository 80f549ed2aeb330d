"""What the controller knows: every gate's result, the baselines to write, and how the session ends."""

import pathlib
from typing import Any

import pytest

from pytest_quantguard.fixtures import REPORT_ATTRIBUTE
from pytest_quantguard.options import Options
from quantguard.baselines import read, write
from quantguard.errors import BaselineError
from quantguard.gates import GateResult
from quantguard.records import from_json
from quantguard.report import files, text


class Collector:
    """Gathers results from test reports, which xdist brings to the controller and plain pytest makes in place.

    Only this class writes baselines, and it lives in the controller alone.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._results: list[tuple[str, GateResult]] = []
        self._written: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the results of a finished test and put its measured baselines in place."""
        for table in getattr(report, REPORT_ATTRIBUTE, ()):
            result = from_json(GateResult, table)
            self._results.append((report.nodeid, result))
            if result.pending is not None and result.pending_path is not None:
                self._store(result)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the report, and refuse to end well when gates were asked for and none was decided."""
        if self._options.report is not None:
            files.write_all(self._options.report, self._results)
        decided = [result for _, result in self._results if result.pending is None]
        if not decided and self._options.update is None and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say for every gate what was measured, against what, on how many items, and why it passed or not."""
        terminalreporter.section("quantguard", sep="=")
        for nodeid, result in self._results:
            terminalreporter.write_line(nodeid, bold=True)
            markup = {_COLOURS[result.verdict.outcome]: True}
            for line in text.gate_lines([result]):
                terminalreporter.write_line(f"  {line}", **markup)
        for line in self._written:
            terminalreporter.write_line(line)
        terminalreporter.write_line(text.closing_line([result for _, result in self._results]))
        if self._options.report is not None:
            terminalreporter.write_line(f"report: {self._options.report}")

    def _store(self, result: GateResult) -> None:
        assert result.pending is not None
        path = pathlib.Path(str(result.pending_path))
        try:
            unchanged = read(path) == result.pending
        except BaselineError:
            unchanged = False
        if not unchanged:
            write(path, result.pending)
        self._written.append(f"baseline {'unchanged' if unchanged else 'written'}: {path}")


_COLOURS = {"PASS": "green", "INCONCLUSIVE": "yellow", "REGRESSED": "red", "ERROR": "red"}
