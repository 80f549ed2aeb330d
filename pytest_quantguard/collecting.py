"""What the controller knows: every gate's result, the baselines to write, and how the session ends."""

from typing import Any

import pytest

from pytest_quantguard import planning, suite, troubles
from pytest_quantguard.fixtures import NEEDS_NPU, REPORT_ATTRIBUTE
from pytest_quantguard.options import Options
from pytest_quantguard.storing import Storing
from quantguard.baselines.suites import remember
from quantguard.baselines.survey import Notice, survey
from quantguard.errors import QuantguardError
from quantguard.gates import GateResult
from quantguard.records import from_json
from quantguard.report import files, text
from quantguard.report.several import several_lines


class Collector:
    """Gathers results from test reports, which xdist brings to the controller and plain pytest makes in place.

    It lives in the controller alone, and so does what writes baselines.
    """

    def __init__(self, options: Options, storing: Storing) -> None:
        self._options = options
        self._storing = storing
        self._results: list[tuple[str, GateResult]] = []
        self._order: dict[str, int] = {}
        self._num_skipped = 0
        self._plans: list[tuple[str, list[str]]] = []
        self._ended: set[str] = set()
        self._notices: tuple[Notice, ...] = ()
        self._has_written_report = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the results of a finished test and put its measured baselines in place."""
        self._num_skipped += report.skipped and not hasattr(report, REPORT_ATTRIBUTE)
        if _came_to_its_end(report):
            self._ended.add(report.nodeid)
        if plans := getattr(report, planning.REPORT_ATTRIBUTE, None):
            self._plans.append((report.nodeid, plans))
        results = [from_json(GateResult, table) for table in getattr(report, REPORT_ATTRIBUTE, ())]
        self._results += [(report.nodeid, result) for result in results]
        self._storing.take(report, results)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        """Learn the order of the tests, which workers finish in any other."""
        del node
        self._order = {nodeid: index for index, nodeid in enumerate(ids)}

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the report, and refuse to end well when gates were asked for and none was decided."""
        if session.config.getoption("collectonly"):
            return
        self._results.sort(key=lambda pair: self._order.get(pair[0], 0))
        self._results = [(nodeid, self._storing.noted(result)) for nodeid, result in self._results]
        try:
            self._look_through_baselines(session)
        except (OSError, QuantguardError) as error:
            troubles.note(session.config, f"the stored baselines were not looked through: {error}")
        self._write_report(session.config)
        if session.exitstatus == pytest.ExitCode.OK and self._missing() is not None:
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say for every gate what was measured, against what, on how many items, and why it passed or not."""
        if terminalreporter.config.getoption("collectonly"):
            return
        terminalreporter.section("quantguard", sep="=")
        if self._options.plan:
            self._show_plans(terminalreporter)
            return
        self._show_results(terminalreporter)
        for line in several_lines([result for _, result in self._results]):
            terminalreporter.write_line(line, yellow=True)
        for notice in self._notices:
            terminalreporter.write_line(notice.line, yellow=True)
        if self._num_skipped:
            terminalreporter.write_line(f"{self._num_skipped} gates were skipped", yellow=True)
        if (missing := self._missing()) is not None:
            terminalreporter.write_line(f"quantguard: {missing}", red=True)
        terminalreporter.write_line(text.closing_line([result for _, result in self._results]))
        if self._has_written_report:
            terminalreporter.write_line(f"report: {self._options.report}")

    def _show_results(self, terminalreporter: Any) -> None:
        for nodeid, result in self._results:
            terminalreporter.write_line(nodeid, bold=True)
            markup = {_COLOURS[result.label]: True}
            for line in text.gate_lines([result]):
                terminalreporter.write_line(f"  {line}", **markup)
        for line in self._storing.lines():
            terminalreporter.write_line(line, yellow=line.startswith("baseline not written"))

    def _write_report(self, config: pytest.Config) -> None:
        """Write the report, where one was asked for; what fails costs no verdict."""
        if self._options.report is None:
            return
        try:
            files.write_all(self._options.report, self._results, self._notices)
        # The verdicts are decided, and a section of the report may be another distribution's.
        except Exception as error:  # noqa: BLE001
            what = f"{type(error).__name__}: {error}"
            troubles.note(config, f"the report was not written to {self._options.report}: {what}")
        else:
            self._has_written_report = True

    def _look_through_baselines(self, session: pytest.Session) -> None:
        """Find what is to be said of stored baselines, and keep what a whole run has no use for."""
        places = [result.place for _, result in self._results if result.place is not None]
        whole = suite.is_whole(session, self._options, self._ended)
        self._notices = survey(self._options.baselines, places, whole=whole, kept=self._options.kept_baselines)
        if whole:
            remember(self._options.baselines, {place.platform for place in places}, self._notices)

    def _show_plans(self, terminalreporter: Any) -> None:
        for nodeid, lines in self._plans:
            terminalreporter.write_line(nodeid, bold=True)
            for line in lines:
                terminalreporter.write_line(f"  {line}")
        terminalreporter.write_line("quantguard: planned, nothing run")

    def _missing(self) -> str | None:
        """Say what a run that is otherwise fine was asked for and did not do, or None."""
        if self._options.plan:
            return None if self._plans else "a plan was asked for, and there is no gate to plan"
        decided = [result for _, result in self._results if result.pending is None]
        if not self._results or (not decided and self._options.update is None):
            return "gates were asked for, and none was decided"
        if self._options.npu is not None and all(result.platform == "cpu" for _, result in self._results):
            return "--npu was given, and no gate ran on an NPU: hand npu_device to guard.check(device=...)"
        return None


def _came_to_its_end(report: pytest.TestReport) -> bool:
    """Tell whether a gate did all it does: one that waits for an NPU is of a platform that this run is not about."""
    if report.skipped:
        return NEEDS_NPU in str(report.longrepr)
    return report.when == "call" and report.passed


_COLOURS = {
    "MEASURED": "cyan",
    "PASS": "green",
    "INCONCLUSIVE": "yellow",
    "UNSTABLE": "purple",
    "REGRESSED": "red",
    "ERROR": "red",
}
