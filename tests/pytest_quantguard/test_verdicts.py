"""Whatever a test does, its gates' verdicts stand: in the exit code, in pytest's counts and in every report."""

import html
import re

import pytest

from pytest_quantguard import enforcement, fixtures
from tests.support.planted_verdicts import MODES, junit, tell

SWALLOWED = """
@gate
def test_bare_except(guard):
    try:
        guard.check("REGRESSED")
    except BaseException:
        pass

@gate
def test_suppress(guard):
    with contextlib.suppress(BaseException):
        guard.check("ERROR")

@gate
def test_raises(guard):
    with pytest.raises(pytest.fail.Exception):
        guard.check("UNSTABLE")

@gate
def test_raises_base(guard):
    with pytest.raises(BaseException):
        guard.check("INCONCLUSIVE")

@gate
def test_thread(guard):
    thread = threading.Thread(target=lambda: contextlib.suppress(BaseException).__enter__() or swallow(guard))
    thread.start()
    thread.join()

def swallow(guard):
    with contextlib.suppress(BaseException):
        guard.check("REGRESSED")

@gate
def test_executor(guard):
    with concurrent.futures.ThreadPoolExecutor() as executor:
        executor.submit(guard.check, "REGRESSED")

@gate
def test_skip_in_a_handler(guard):
    try:
        guard.check("REGRESSED")
    except BaseException:
        pytest.skip("no machine for it")

@gate
def test_skip_of_unittest(guard):
    try:
        guard.check("REGRESSED")
    except BaseException:
        raise unittest.SkipTest("no machine for it")

@gate
def test_xfail_in_a_handler(guard):
    try:
        guard.check("REGRESSED")
    except BaseException:
        pytest.xfail("known")

@gate
@pytest.mark.xfail(reason="known", strict=False)
def test_xfail(guard):
    guard.check("REGRESSED")

@gate
@pytest.mark.xfail(reason="known", strict=True)
def test_xfail_strict(guard):
    guard.check("REGRESSED")

@gate
@pytest.mark.xfail(reason="known", raises=BaseException, strict=False)
def test_xfail_raises(guard):
    guard.check("REGRESSED")

@gate
@pytest.mark.xfail(reason="known", strict=False)
def test_xfail_swallowed(guard):
    swallow(guard)

@gate
def test_first_swallowed(guard):
    swallow(guard)
    guard.check("PASS")

@gate
def test_second_crashes(guard):
    guard.check("PASS")
    with contextlib.suppress(BaseException):
        guard.check("runtime")

@pytest.fixture
def checked(guard):
    swallow(guard)

@gate
def test_in_a_fixture(checked):
    pass

@pytest.fixture
def checked_after(guard):
    yield
    swallow(guard)

@gate
def test_in_a_teardown(guard, checked_after):
    guard.check("PASS")

@gate
def test_subtests(guard, subtests):
    with subtests.test("one"):
        guard.check("REGRESSED")

@gate
@pytest.mark.parametrize("model", ["PASS", "REGRESSED"])
def test_parametrised(guard, model):
    with contextlib.suppress(BaseException):
        guard.check(model)

@gate
class TestClass:
    def test_method(self, guard):
        swallow(guard)

class TestUnittest(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _guard(self, guard):
        self.guard = guard

    @gate
    def test_case(self):
        swallow(self.guard)

@gate
def test_of_another_kind(guard):
    with contextlib.suppress(BaseException):
        guard.check(3.5, recipee=2)

@gate
def test_no_gate_swallowed(guard, request):
    request.node.own_markers[:] = []
    with contextlib.suppress(BaseException):
        guard.check("PASS")

@gate
def test_half_a_character(guard):
    guard.check("half")

@gate
def test_good(guard):
    guard.check("PASS")
"""
OUTCOMES = {
    "test_bare_except": ["REGRESSED"],
    "test_suppress": ["ERROR"],
    "test_raises": ["UNSTABLE"],
    "test_raises_base": ["INCONCLUSIVE"],
    "test_thread": ["REGRESSED"],
    "test_executor": ["REGRESSED"],
    "test_skip_in_a_handler": ["REGRESSED"],
    "test_skip_of_unittest": ["REGRESSED"],
    "test_xfail_in_a_handler": ["REGRESSED"],
    "test_xfail": ["REGRESSED"],
    "test_xfail_strict": ["REGRESSED"],
    "test_xfail_raises": ["REGRESSED"],
    "test_xfail_swallowed": ["REGRESSED"],
    "test_first_swallowed": ["REGRESSED", "PASS"],
    "test_second_crashes": ["PASS", "ERROR"],
    "test_in_a_fixture": ["REGRESSED"],
    "test_in_a_teardown": ["PASS", "REGRESSED"],
    "test_subtests": ["REGRESSED"],
    "test_parametrised[PASS]": ["PASS"],
    "test_parametrised[REGRESSED]": ["REGRESSED"],
    "test_method": ["REGRESSED"],
    "test_case": ["REGRESSED"],
    "test_of_another_kind": ["ERROR"],
    "test_no_gate_swallowed": ["ERROR"],
    "test_half_a_character": ["ERROR"],
    "test_good": ["PASS"],
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("options", MODES.values(), ids=MODES)
def test_a_swallowed_verdict_fails_its_test(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    told = tell(pytester, *options, test=SWALLOWED)
    assert told.code == pytest.ExitCode.TESTS_FAILED
    assert told.rows == OUTCOMES
    assert "quantguard: 5 PASS, 1 INCONCLUSIVE, 1 UNSTABLE, 17 REGRESSED, 5 ERROR; tests: 2 PASS," in told.terminal
    assert told.summary.startswith(
        "quantguard: 5 PASS, 1 INCONCLUSIVE, 1 UNSTABLE, 17 REGRESSED, 5 ERROR; tests: 2 PASS,"
    )
    green = {test for test, outcomes in OUTCOMES.items() if set(outcomes) == {"PASS"}}
    in_junit = junit(pytester.path)
    assert {test for test, (state, _) in in_junit.items() if state == "passed"} == green
    # The teardown is an error of a test that passed, and the subtest counts beside its test.
    told.run.assert_outcomes(passed=len(green) + 1, failed=len(OUTCOMES) - len(green) - 1, errors=2)


@pytest.mark.parametrize("where", ["terminal", "summary", "page"])
def test_xfail_is_said_to_be_one_and_softens_nothing(pytester: pytest.Pytester, where: str) -> None:
    told = tell(
        pytester,
        test="""
@gate
@pytest.mark.xfail(reason="known for long", strict=False)
def test_red(guard):
    guard.check("REGRESSED")

@gate
@pytest.mark.xfail(reason="expected", strict=False)
def test_green(guard):
    guard.check("PASS")

@gate
@pytest.mark.xfail(False, reason="elsewhere", strict=False)
def test_elsewhere(guard):
    guard.check("PASS")
""",
    )
    assert told.code == pytest.ExitCode.TESTS_FAILED
    told.run.assert_outcomes(failed=1, xpassed=1, passed=1)
    said = getattr(told, where)
    for reason in ("known for long", "expected"):
        assert re.search(rf"its test is marked xfail \({reason}\), which softens no verdict", said)
    assert "elsewhere" not in told.reasons("test_elsewhere")
    state, text = junit(pytester.path)["test_red"]
    assert (state, "The test is marked xfail, which softens no verdict." in text) == ("failed", True)


FIVE = """
@pytest.fixture
def broken():
    raise OSError("the fixture's own words")

@gate
def test_killed(guard, request):
    if hasattr(request.config, "workerinput"):
        os.kill(os.getpid(), signal.SIGKILL)
    guard.check("out of memory")

@gate
def test_broken_fixture(guard, broken):
    guard.check("PASS")

@gate
def test_out_of_memory(guard):
    guard.check("out of memory")

@gate
def test_own_assertion(guard):
    guard.check("PASS")
    assert 1 + 1 == 3, "the sum is wrong"

@gate
def test_good(guard):
    guard.check("PASS")
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("options", MODES.values(), ids=MODES)
def test_every_collected_gate_has_a_row_and_the_counts_are_those_of_pytest(
    pytester: pytest.Pytester, options: tuple[str, ...]
) -> None:
    told = tell(pytester, *options, test=FIVE)
    assert told.code == pytest.ExitCode.TESTS_FAILED
    told.run.assert_outcomes(passed=1, failed=3, errors=1)
    assert told.rows == {
        "test_killed": ["ERROR"],
        "test_broken_fixture": ["ERROR"],
        "test_out_of_memory": ["ERROR"],
        "test_own_assertion": ["PASS", "ERROR"],
        "test_good": ["PASS"],
    }
    counts = "2 PASS, 4 ERROR; tests: 1 PASS, 4 ERROR"
    assert f"quantguard: {counts}" in told.terminal
    assert f"quantguard: {counts}" in told.summary
    assert counts.partition("; ")[2] in told.page
    assert '<span class="badge ERROR">4 ERROR</span>' in told.page
    for test, reason in {
        "test_killed": "worker 'gw" if "-n" in options else "the gate raised MemoryError",
        "test_broken_fixture": "a fixture failed: OSError: the fixture's own words",
        "test_out_of_memory": "the gate raised MemoryError",
        "test_own_assertion": "the test's own assertion failed: the sum is wrong",
    }.items():
        assert reason in told.reasons(test)
        shown = [told.terminal, *map(html.unescape, (told.summary, told.page))]
        assert all(reason in text.replace("\\_", "_") for text in shown), test


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("runtime", "RuntimeError: what runtime says"),
        ("os", "OSError: what os says"),
        ("lookup", "LookupError: what lookup says"),
        ("out of memory", "MemoryError"),
        ("endless", "RecursionError: maximum recursion depth exceeded"),
        ("panics", "PanicException: a defect in Rust"),
        ("half", "ValueError: half a character: "),
    ],
)
def test_what_a_gate_raises_is_an_error_with_its_traceback_and_the_other_gates_go_on(
    pytester: pytest.Pytester, model: str, said: str
) -> None:
    told = tell(
        pytester,
        test=f"""
@quantguard.latency(stage="prefill", min_speedup=0.5)
@gate
def test_crash(guard):
    guard.check({model!r})

@gate
def test_next(guard):
    guard.check("PASS")
""",
    )
    assert told.code == pytest.ExitCode.TESTS_FAILED
    assert sorted(told.rows["test_crash"]) == ["ERROR", "PASS"]
    assert told.rows["test_next"] == ["PASS"]
    [row] = [table for table in told.tables if table["outcome"] == "ERROR"]
    assert row["gate"] == "memory"
    assert row["verdict"]["reason"].startswith("the gate raised ")
    assert said in row["verdict"]["reason"]
    assert said in row["traceback"]
    assert "conftest.py" in row["traceback"]
    assert "in raised" in told.page
    assert "in raised" in told.terminal
    state, text = junit(pytester.path)["test_crash"]
    assert state == "failed"
    assert text.count("in raised") >= 2
    told = tell(pytester, "--tb=no")
    assert "in raised" not in told.terminal
    assert said in told.terminal


def test_an_error_of_quantguard_says_everything_without_a_traceback(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import quantguard\n\n@quantguard.memory(max_ratio=0.6)\n"
        "def test_release(guard):\n    guard.check('tiny-reasoner', recipe='w8a9')\n"
    )
    run = pytester.runpytest_inprocess("--quantguard")
    run.stdout.fnmatch_lines(["*ERROR*memory: weights*", "*unknown recipe 'w8a9'*"])
    run.stdout.no_fnmatch_line("*Traceback*")


def test_a_report_that_is_not_held_to_its_verdicts_is_caught(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enforcement, "hold_to_verdicts", lambda *_: None)
    with pytest.raises(AssertionError):
        test_a_swallowed_verdict_fails_its_test(pytester, ())


def test_a_gate_whose_defect_goes_through_is_caught(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fixtures, "_ENDS_ALL", (BaseException,))
    with pytest.raises(AssertionError):
        test_what_a_gate_raises_is_an_error_with_its_traceback_and_the_other_gates_go_on(pytester, "os", "what os says")


def test_without_a_terminal_the_verdict_stands(pytester: pytest.Pytester) -> None:
    swallowing = '@gate\ndef test_red(guard):\n    pytest.raises(BaseException, guard.check, "runtime")\n'
    told = tell(pytester, "-p", "no:terminal", test=swallowing)
    assert (told.code, told.rows) == (pytest.ExitCode.TESTS_FAILED, {"test_red": ["ERROR"]})
