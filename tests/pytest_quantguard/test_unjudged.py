"""What was skipped, broken off, lost or never run is told of in every report, and is never green."""

import pytest

from pytest_quantguard import run_log
from pytest_quantguard.result_log import result_of_test
from tests.support.planted_verdicts import MODES, is_told, tell

FOUR = """
@gate
def test_first(guard):
    guard.check("PASS")

@gate
def test_red(guard):
    guard.check("REGRESSED")

@gate
def test_third(guard):
    guard.check("PASS")

@gate
def test_fourth(guard):
    guard.check("PASS")
"""


@pytest.mark.parametrize("options", [["-x"], ["--maxfail=1"], ["-x", "-p", "no:xdist"]], ids=" ".join)
def test_gates_behind_the_first_failure_are_said_not_to_have_run(pytester: pytest.Pytester, options: list[str]) -> None:
    told = tell(pytester, *options, test=FOUR)
    assert told.code == pytest.ExitCode.TESTS_FAILED
    assert list(told.rows.values()) == [["PASS"], ["REGRESSED"], ["NOT RUN"], ["NOT RUN"]]
    assert is_told(told, "test_fourth", "the run ended before it: stopping after 1 failures")
    assert "quantguard: 1 PASS, 1 REGRESSED, 2 NOT RUN" in told.terminal


@pytest.mark.timeout(300)
def test_gates_that_no_worker_came_to_are_said_not_to_have_run(pytester: pytest.Pytester) -> None:
    more = "".join(f'@gate\ndef test_more{i}(guard):\n    guard.check("PASS")\n' for i in range(30))
    told = tell(pytester, "-n", "2", "-x", test=FOUR.replace('"PASS"', '"REGRESSED"') + more)
    assert told.code != pytest.ExitCode.OK
    assert len(told.rows) == 34
    assert told.rows["test_more29"] == ["NOT RUN"]


@pytest.mark.parametrize("options", [(), ("-p", "no:xdist")], ids=["plain", "no xdist"])
def test_a_run_that_is_ended_as_good_is_not(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    told = tell(
        pytester,
        *options,
        test=FOUR.replace('"REGRESSED"', '"PASS"')
        + """
@gate
def test_ends(guard):
    pytest.exit("enough", returncode=0)

@gate
def test_last(guard):
    guard.check("PASS")
""",
    )
    assert told.code == pytest.ExitCode.TESTS_FAILED
    assert (told.rows["test_ends"], told.rows["test_last"]) == (["NOT RUN"], ["NOT RUN"])
    assert is_told(told, "test_ends", "the run ended while it ran")
    assert "the exit code is 1: it follows the verdicts" in told.terminal


SKIPS = """
@gate
def test_npu(guard, npu_device):
    guard.check("PASS")

@gate
@pytest.mark.skip(reason="not on Mondays")
def test_marked(guard):
    guard.check("PASS")

@gate
@pytest.mark.xfail(reason="not yet", run=False)
def test_not_run(guard):
    guard.check("PASS")

@gate
def test_by_itself(guard):
    guard.check("PASS")
    pytest.skip("the rest is for later")

@gate
@quantguard.latency(stage="prefill", min_speedup=0.5)
def test_gate_skips(guard):
    guard.check("skips")

@gate
def test_good(guard):
    guard.check("PASS")
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("options", MODES.values(), ids=MODES)
def test_a_skip_stays_one_and_is_told_of_with_its_reason(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    told = tell(pytester, *options, test=SKIPS)
    assert told.code == pytest.ExitCode.OK
    told.run.assert_outcomes(passed=1, skipped=4, xfailed=1)
    skipped = {"test_npu": "needs an Ascend NPU", "test_marked": "not on Mondays", "test_not_run": "[NOTRUN] not yet"}
    for test, reason in skipped.items():
        assert told.rows[test] == ["SKIPPED"]
        assert reason in told.reasons(test)
    assert told.rows["test_by_itself"] == ["PASS", "SKIPPED"]
    assert told.rows["test_gate_skips"] == ["SKIPPED", "SKIPPED"]
    assert is_told(told, "test_marked", "not on Mondays")
    assert "tests: 1 PASS, 5 SKIPPED" in told.terminal


BROKEN_OFF = """
@quantguard.latency(stage="prefill", min_speedup=0.5)
@gate
def test_times_out(guard):
    guard.check("times out")

@gate
@quantguard.latency(stage="prefill", min_speedup=0.5)
def test_times_out_first(guard):
    with contextlib.suppress(BaseException):
        guard.check("times out")

@gate
def test_exits(guard):
    with pytest.raises(SystemExit):
        guard.check("exits")

@gate
def test_interrupt_is_caught(guard):
    with pytest.raises(KeyboardInterrupt):
        guard.check("interrupted")

@gate
def test_exits_by_itself(guard):
    guard.check("PASS")
    raise SystemExit(0)

@gate
def test_forks(guard):
    guard.check("PASS")
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            guard.check("REGRESSED")
        os._exit(0)
    os.waitpid(child, 0)

@gate
def test_goes_on(guard):
    threading.Thread(target=guard.check, args=("slow",), daemon=True).start()
    started.wait()

@gate
def test_good(guard):
    guard.check("PASS")
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("options", MODES.values(), ids=MODES)
def test_a_check_that_was_broken_off_is_red(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    slow = """
import builtins, threading
builtins.started = threading.Event()
planted = raised
def raised(model):
    if model == "slow":
        started.set()
        threading.Event().wait()
    return planted(model)
"""
    told = tell(pytester, *options, test=BROKEN_OFF, conftest=slow)
    assert told.code == pytest.ExitCode.TESTS_FAILED
    assert told.rows == {
        "test_times_out": ["PASS", "ERROR"],
        "test_times_out_first": ["ERROR", "NOT RUN"],
        "test_exits": ["ERROR"],
        "test_interrupt_is_caught": ["ERROR"],
        "test_exits_by_itself": ["PASS", "ERROR"],
        "test_forks": ["PASS", "ERROR"],
        "test_goes_on": ["ERROR"],
        "test_good": ["PASS"],
    }
    assert "the gate raised Failed: Timeout (>1.0s) from pytest-timeout." in told.reasons("test_times_out")
    assert is_told(told, "test_goes_on", "guard.check() was not at its end when the test was")


def test_an_interrupted_run_tells_what_it_had(pytester: pytest.Pytester) -> None:
    told = tell(pytester, test=FOUR.replace('"REGRESSED"', '"interrupted"'), subprocess=True)
    assert told.code == pytest.ExitCode.INTERRUPTED
    assert told.rows == {
        "test_first": ["PASS"],
        "test_red": ["ERROR"],
        "test_third": ["NOT RUN"],
        "test_fourth": ["NOT RUN"],
    }


LOST = """
@gate
def test_first(guard):
    guard.check("PASS")

@gate
def test_killed(guard):
    guard.check("PASS")
    os.kill(os.getpid(), signal.SIGKILL)

@gate
def test_exits(guard):
    os._exit(0)

@pytest.fixture
def falls():
    yield
    os._exit(0)

@gate
def test_falls_in_teardown(guard, falls):
    guard.check("PASS")

@gate
def test_good(guard):
    guard.check("PASS")
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("restart", [[], ["--max-worker-restart=0"]], ids=["restarted", "not restarted"])
def test_a_worker_that_was_lost_is_an_error_of_its_test(pytester: pytest.Pytester, restart: list[str]) -> None:
    told = tell(pytester, "-n", "1", *restart, test=LOST)
    assert told.code != pytest.ExitCode.OK
    assert set(told.rows) == {"test_first", "test_killed", "test_exits", "test_falls_in_teardown", "test_good"}
    assert told.rows["test_first"] == ["PASS"]
    assert told.rows["test_killed"] == ["ERROR"]
    assert "the worker was lost: worker 'gw0' crashed while running" in told.reasons("test_killed")
    if restart:
        assert told.rows["test_good"] == ["NOT RUN"]
    else:
        assert told.rows["test_exits"] == ["ERROR"]
        assert told.rows["test_falls_in_teardown"] == ["PASS", "ERROR"]
        assert told.rows["test_good"] == ["PASS"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("options", MODES.values(), ids=MODES)
def test_a_file_that_cannot_be_collected_is_an_error(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    pytester.makepyfile(test_broken="import a_module_that_nobody_has\n")
    told = tell(pytester, *options, "--continue-on-collection-errors", test=FOUR.replace('"REGRESSED"', '"PASS"'))
    assert told.code == pytest.ExitCode.TESTS_FAILED
    assert told.rows["test_broken.py"] == ["ERROR"]
    assert "quantguard: 4 PASS, 1 ERROR" in told.terminal
    assert is_told(told, "test_broken.py", "No module named 'a_module_that_nobody_has'")


@pytest.mark.parametrize(
    ("when", "reason"), [("before", "a fixture failed"), ("after", "what tears the test down failed")]
)
def test_a_fixture_that_fails_before_or_after_is_an_error(pytester: pytest.Pytester, when: str, reason: str) -> None:
    parts = ["    raise OSError('it broke')\n", "    yield\n"]
    body = "".join(parts if when == "before" else parts[::-1])
    told = tell(
        pytester,
        test=f"@pytest.fixture\ndef broken():\n{body}\n@gate\ndef test_one(guard, broken):\n    guard.check('PASS')\n",
    )
    assert told.code == pytest.ExitCode.TESTS_FAILED
    assert told.rows == {"test_one": ["ERROR"] if when == "before" else ["PASS", "ERROR"]}
    assert is_told(told, "test_one", f"{reason}: OSError: it broke")


def test_a_deselected_gate_has_no_row(pytester: pytest.Pytester) -> None:
    told = tell(pytester, "-k", "first or third", test=FOUR)
    assert told.code == pytest.ExitCode.OK
    assert list(told.rows) == ["test_first", "test_third"]


PLANS = """
@quantguard.accuracy(tol=0.045)
def test_swallowed(guard):
    with contextlib.suppress(BaseException):
        guard.check("tiny-reasoner", recipe="w8a8")

@pytest.fixture
def broken():
    raise OSError("it broke")

@gate
def test_broken(guard, broken):
    guard.check("PASS")

@gate
def test_planned(guard):
    guard.check("tiny-reasoner", recipe="w8a8")
"""


@pytest.mark.parametrize("test", ["swallowed", "broken"])
def test_a_plan_that_came_to_nothing_is_red(pytester: pytest.Pytester, test: str) -> None:
    told = tell(pytester, "--quantguard-plan", "-k", f"{test} or planned", test=PLANS)
    assert told.code == pytest.ExitCode.TESTS_FAILED
    assert told.rows == {f"test_{test}": ["ERROR"]}
    assert "memory: measured when it runs" in told.terminal
    assert {"swallowed": "there is no baseline", "broken": "a fixture failed: OSError"}[test] in told.terminal


def test_an_update_measures_and_does_not_swallow_a_verdict(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    swallowing = FOUR.replace('guard.check("REGRESSED")', 'pytest.raises(BaseException, guard.check, "REGRESSED")')
    told = tell(pytester, "--quantguard-update=new", test=swallowing)
    assert told.code == pytest.ExitCode.TESTS_FAILED
    assert told.rows["test_red"] == ["REGRESSED"]


@pytest.mark.timeout(120)
def test_a_collector_that_forgets_a_lost_worker_is_caught(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controller, where the rows are put together, is this process."""
    monkeypatch.setattr(run_log, "_LOST", "never")
    with pytest.raises(AssertionError):
        test_a_worker_that_was_lost_is_an_error_of_its_test(pytester, ["--max-worker-restart=0"])


@pytest.mark.parametrize("fault", [lambda *_: [], lambda nodeid, *_: [result_of_test(nodeid, "x", unjudged="SKIPPED")]])
def test_a_collector_that_forgets_what_was_not_run_is_caught(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, fault: object
) -> None:
    monkeypatch.setattr(run_log, "_of_unjudged", fault)
    with pytest.raises(AssertionError):
        test_gates_behind_the_first_failure_are_said_not_to_have_run(pytester, ["-x"])
