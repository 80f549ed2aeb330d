"""Hooks that turn failed into passed change what pytest says, and neither the verdicts nor the exit code."""

from typing import Any

import pytest

from pytest_quantguard import enforcement, result_log
from pytest_quantguard.collecting import Collector
from pytest_quantguard.run_log import RunLog
from tests.support.planted_verdicts import MODES, tell

GATES = """
@gate
def test_regressed(guard):
    guard.check("REGRESSED")

@gate
def test_crashes(guard):
    guard.check("PASS")
    raise OSError("the test's own")

@gate
def test_good(guard):
    guard.check("PASS")
"""
SOFTENING = {
    "makereport, outermost": """
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    report = yield
    report.outcome, report.longrepr = "passed", None
    return report
""",
    "makereport, inner": """
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_makereport(item, call):
    report = yield
    report.outcome, report.longrepr = "passed", None
    return report
""",
    "makereport, skipped": """
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        report.outcome, report.longrepr = "skipped", ("x.py", 1, "Skipped: flaky")
    return report
""",
    "makereport, another report": """
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    report = yield
    return pytest.TestReport(report.nodeid, report.location, {}, "passed", None, report.when)
""",
    "makereport, replaced": """
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item, call):
    return pytest.TestReport(item.nodeid, item.location, {}, "passed", None, call.when)
""",
    "logreport": """
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report):
    report.outcome = "passed"
""",
    "teststatus": """
@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report):
    return "passed", ".", "PASSED"
""",
    "the call is swallowed": """
@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    try:
        yield
    except BaseException:
        if "regressed" not in pyfuncitem.name:
            raise
    return True
""",
    "the call is swallowed around all": """
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item):
    try:
        yield
    except BaseException:
        if "regressed" not in item.name:
            raise
""",
    "sessionfinish": """
@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    session.exitstatus = 0
""",
    "sessionfinish, around all": """
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    yield
    session.exitstatus = 0
""",
    "sessionfinish, by exit": """
@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    pytest.exit("all is well", returncode=0)
""",
    "unconfigure": """
@pytest.fixture(scope="session", autouse=True)
def _kept(request):
    request.config._the_session = request.session
    yield

@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    session.config._the_session = session

@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure(config):
    config._the_session.exitstatus = 0
""",
    "testsfailed": """
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session):
    result = yield
    session.testsfailed = 0
    return result
""",
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("conftest", SOFTENING.values(), ids=SOFTENING)
def test_the_exit_code_follows_the_verdicts(pytester: pytest.Pytester, conftest: str) -> None:
    told = tell(pytester, test=GATES, conftest=conftest)
    assert told.code == pytest.ExitCode.TESTS_FAILED
    assert told.rows["test_regressed"][0] == "REGRESSED"
    assert told.rows["test_crashes"] == ["PASS", "ERROR"]
    assert told.rows["test_good"][0] == "PASS"
    # By then nothing more is printed.
    assert "1 REGRESSED" in told.terminal or "all is well" in conftest
    assert "1 REGRESSED" in told.summary


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["makereport, outermost", "makereport, another report", "sessionfinish, around all"])
def test_the_exit_code_follows_the_verdicts_of_workers(pytester: pytest.Pytester, name: str) -> None:
    told = tell(pytester, *MODES["workers"], test=GATES, conftest=SOFTENING[name])
    assert told.code == pytest.ExitCode.TESTS_FAILED
    assert told.rows == {"test_regressed": ["REGRESSED"], "test_crashes": ["PASS", "ERROR"], "test_good": ["PASS"]}


RUN_AGAIN = """
from _pytest.runner import runtestprotocol

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for last in (False, False, True):
        item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        failed = any(report.failed for report in reports)
        for report in reports:
            # As pytest-rerunfailures does, and flaky, which drops them.
            if failed and report.failed and not last:
                if SAID:
                    report.outcome = "rerun"
                else:
                    continue
            item.ihook.pytest_runtest_logreport(report=report)
        if not failed:
            break
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("said", ["True", "False"], ids=["as rerun", "dropped"])
@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["plain", "workers"])
def test_a_test_that_is_run_again_clears_its_own_trouble_and_no_verdict(
    pytester: pytest.Pytester, options: tuple[str, ...], said: str
) -> None:
    told = tell(
        pytester,
        *options,
        conftest=f"SAID = {said}\n{RUN_AGAIN}",
        test="""
runs = {"red": 0, "own": 0}

@gate
def test_red_then_green(guard):
    runs["red"] += 1
    guard.check("REGRESSED" if runs["red"] == 1 else "PASS")

@gate
def test_own_then_green(guard):
    runs["own"] += 1
    if runs["own"] == 1:
        raise OSError("a server that did not start")
    guard.check("PASS")
""",
    )
    assert told.code == pytest.ExitCode.TESTS_FAILED
    assert told.rows == {"test_red_then_green": ["REGRESSED", "PASS", "PASS"], "test_own_then_green": ["PASS"]}
    assert "attempt 2 of the test; running it again clears no verdict" in told.reasons("test_red_then_green")
    assert "came to no end: the test raised an exception: OSError: a server" in told.reasons("test_own_then_green")


def test_a_suite_whose_own_trouble_passed_when_run_again_is_green(pytester: pytest.Pytester) -> None:
    told = tell(
        pytester,
        conftest=f"SAID = True\n{RUN_AGAIN}",
        test="""
runs = []

@gate
def test_own_then_green(guard):
    runs.append(1)
    assert len(runs) > 1
    guard.check("PASS")
""",
    )
    assert (told.code, told.rows) == (pytest.ExitCode.OK, {"test_own_then_green": ["PASS"]})


@pytest.mark.parametrize(
    ("broken", "fault", "softening"),
    [
        pytest.param((enforcement, "note_exception"), lambda *_: None, "makereport, inner", id="own trouble forgotten"),
        pytest.param((Collector, "_judge_run"), lambda _: 0, "makereport, outermost", id="the exit code not judged"),
        pytest.param((Collector, "pytest_unconfigure"), None, "sessionfinish", id="the exit code not held"),
        pytest.param(
            (result_log.ResultLog, "unsent"), lambda _: [], "makereport, another report", id="what was dropped"
        ),
        pytest.param((RunLog, "take"), lambda *_, **__: [], "makereport, outermost", id="nothing taken down"),
    ],
)
def test_a_plugin_that_lets_a_verdict_go_is_caught(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, broken: tuple[Any, str], fault: Any, softening: str
) -> None:
    monkeypatch.setattr(*broken, fault)
    with pytest.raises(AssertionError):
        test_the_exit_code_follows_the_verdicts(pytester, SOFTENING[softening])
