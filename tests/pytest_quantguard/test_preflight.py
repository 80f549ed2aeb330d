"""What a run will write is tried before its first gate; what fails later is a line beside the verdicts."""

import errno
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any, NoReturn

import pytest

from pytest_quantguard import collecting
from quantguard import catalog
from quantguard.records import sealed_file
from quantguard.records.answer_file import NAME, AnswerFile, count_of_runs_since
from quantguard.report import output_files
from tests.support.gate_runs import copy_baselines, run, write_gate

pytestmark = pytest.mark.usefixtures("shared_models")

MEMORY = """
import quantguard

@quantguard.memory(max_ratio=0.6)
def test_release(guard):
    guard.check("tiny-reasoner", recipe="w8a8")
"""


def full_disk(*_arguments: Any, **_keywords: Any) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("QUANTGUARD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("file", "options", "complaint"),
    [
        (
            "out",
            ["--quantguard-report=out"],
            "*report cannot be written to out: Not a directory*--quantguard-report=DIR",
        ),
        ("out", ["--quantguard-report=out/a/b"], "*the report cannot be written to out/a/b: Not a directory*"),
        ("out/summary.md", ["--quantguard-report=out"], "*out/summary.md is there, and no report of quantguard's*"),
        ("out/results.json", ["--quantguard-report=out"], "*out/results.json is there, and no report of quantguard's*"),
        (
            "stored",
            ["--quantguard-update=new", "--quantguard-baselines=stored"],
            "*what is measured cannot be written to stored: Not a directory*--quantguard-baselines=DIR",
        ),
    ],
    ids=["a file", "below a file", "another's summary", "another's results", "baselines"],
)
@pytest.mark.usefixtures("cache")
def test_a_place_that_cannot_be_written_is_told_before_the_first_gate(
    pytester: pytest.Pytester, file: str, options: list[str], complaint: str
) -> None:
    pytester.makepyfile(MEMORY)
    path = pytester.path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    result = pytester.runpytest_inprocess("--quantguard", *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([complaint])
    assert path.read_text() == "mine"


@pytest.mark.parametrize("part", ["", "generations", "reruns", "suites"])
def test_a_cache_that_cannot_be_written_is_told_before_the_first_gate(
    pytester: pytest.Pytester, cache: pathlib.Path, part: str
) -> None:
    pytester.makepyfile(MEMORY)
    (cache / part).parent.mkdir(exist_ok=True)
    (cache / part).touch()
    result = pytester.runpytest_inprocess("--quantguard")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*what is kept for later runs cannot be written to *QUANTGUARD_CACHE=DIR*"])


def test_a_report_is_put_over_an_older_one_and_nothing_else_is_left(
    pytester: pytest.Pytester, cache: pathlib.Path
) -> None:
    del cache
    pytester.makepyfile(MEMORY)
    for _ in range(2):
        run(pytester, "--quantguard-report=out").assert_outcomes(passed=1)
        assert {path.name for path in (pytester.path / "out").iterdir()} == {
            "results.json",
            "summary.md",
            "report.html",
        }


def test_collecting_alone_is_no_failure_and_writes_nothing(pytester: pytest.Pytester, cache: pathlib.Path) -> None:
    pytester.makepyfile(MEMORY)
    result = run(pytester, "--collect-only", "--quantguard-report=out")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*test_release*"])
    assert not (pytester.path / "out").exists()
    assert not cache.exists()


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("where", "name", "told"),
    [
        (output_files, "write_all", "the report was not written to out: OSError: *No space left*"),
        (collecting, "survey", "the stored baselines were not looked through: *No space left*"),
        (collecting, "remember", "the stored baselines were not looked through: *No space left*"),
        (AnswerFile, "drop", "answers that this run is done with cannot be removed*No space left*Type: rm *"),
        (AnswerFile, "put", "answers cannot be kept: *No space left*QUANTGUARD_CACHE=DIR"),
        (AnswerFile, "begin", "answers cannot be kept: *No space left*QUANTGUARD_CACHE=DIR"),
    ],
    ids=["the report", "the survey", "the suite", "settling", "an answer", "the first answer"],
)
def test_what_fails_after_the_verdicts_is_a_line_beside_them(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, told: str
) -> None:
    write_gate(pytester)
    copy_baselines(pytester)
    with monkeypatch.context() as planted:
        planted.setattr(where, name, full_disk)
        result = run(pytester, "--quantguard-report=out")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*PASS*accuracy: *", "quantguard: 1 PASS", f"ERROR quantguard: {told}"])
    for word in ("Traceback", "INTERNALERROR"):
        assert word not in result.stdout.str() + result.stderr.str()


@pytest.mark.usefixtures("cache")
def test_a_run_that_cannot_be_remembered_keeps_its_verdict(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_gate(pytester, recipe="w3a16")
    copy_baselines(pytester)
    monkeypatch.setattr(sealed_file, "write_whole", full_disk)
    # Judged against full precision it is REGRESSED.
    write_gate(pytester, recipe="w3a16", settings="tol=0.045, against='reference'")
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*REGRESSED*accuracy: *", "ERROR quantguard: a run that did not pass cannot be remembered: *No space left*"]
    )


@pytest.mark.usefixtures("cache")
def test_what_fails_in_a_worker_is_told_too(pytester: pytest.Pytester) -> None:
    write_gate(pytester)
    copy_baselines(pytester)
    pytester.makeconftest(
        """
        from quantguard.records.answer_file import NAME, AnswerFile, count_of_runs_since

        def pytest_configure(config):
            if hasattr(config, "workerinput"):
                def planted(file, run):
                    raise OSError(28, "No space left on device")
                AnswerFile.drop = planted
        """
    )
    result = pytester.runpytest_subprocess("--quantguard", "-n", "1")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["ERROR quantguard: answers that this run is done with cannot be removed*"])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            ["--npu", "test_a.py"],
            "*--npu: it took 'test_a.py' for its value*pytest test_a.py --npu*--npu=required test_a.py",
        ),
        (["--npu=emulate"], "*--npu: it took 'emulate' for its value, and possible are required and emulated*"),
        (
            ["--quantguard", "--quantguard-update=new", "--quantguard-accept-regression", "test_a.py"],
            "*took 'test_a.py' for the reason, which is a path*",
        ),
        (["--quantguard-limit", "test_a.py"], "*--quantguard-limit: a number above 0 is wanted, not 'test_a.py'"),
    ],
    ids=["a path", "a misspelt kind", "a reason", "a number"],
)
def test_an_option_that_took_a_path_for_its_value_says_what_to_type(
    pytester: pytest.Pytester, options: list[str], complaint: str
) -> None:
    pytester.makepyfile(test_a="def test_a(): pass")
    result = pytester.runpytest_inprocess(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([complaint])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("options", [["-p", "no:xdist"], ["-n", "1"]], ids=["plain", "xdist"])
def test_a_run_that_is_interrupted_says_what_is_kept(
    pytester: pytest.Pytester, cache: pathlib.Path, options: list[str]
) -> None:
    write_gate(pytester, settings="tol=0.045, early_stop='off'")
    copy_baselines(pytester)
    # Answers that come slowly, so that it can be interrupted among them. A controller has none, and does without torch.
    pytester.makeconftest(
        """
        import time

        def pytest_configure(config):
            if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
                return
            from quantguard.pipeline import generation_store

            put = generation_store.KeptAnswers.put
            def slowly(kept, request, generation):
                put(kept, request, generation)
                time.sleep(0.3)
            generation_store.KeptAnswers.put = slowly
        """
    )
    # What a shell starts in the background ignores Ctrl-C, and so does all that it starts.
    heeding = "import signal, sys, pytest; signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit({})"
    command = [sys.executable, "-c", heeding.format("pytest.main()"), "--quantguard", *options]
    with subprocess.Popen(command, cwd=pytester.path, stdout=subprocess.PIPE, text=True) as process:
        file = cache / "generations" / NAME
        while count_of_runs_since(file, 0.0) < 3:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        shown = process.stdout.read()
        assert process.wait() == pytest.ExitCode.INTERRUPTED
    assert catalog.cache_root() == cache
    [line] = [line for line in shown.splitlines() if line.startswith("quantguard: interrupted; ")]
    assert f"answers are kept in {cache}/generations; the same command goes on with them within a day" in line
    assert int(line.split()[2]) >= 3
    assert count_of_runs_since(file, 0.0) >= 3
