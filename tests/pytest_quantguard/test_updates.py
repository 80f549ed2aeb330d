"""Baselines are written by the controller alone, alike with and without xdist, and never made worse in silence."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from quantguard import baselines
from quantguard.records.files import SCRATCH_PREFIX
from tests.support.gate_runs import W8A8, run, write_gate

pytestmark = pytest.mark.usefixtures("shared_models")

# With few flips or none, 16 items rule a drop of half the answers out.
SMALL = "tol=0.5, subset=16"
TWO_GATES = f"""
import pytest
import quantguard

@quantguard.accuracy({SMALL})
@pytest.mark.parametrize("recipe", ["w8a8", "w4a8"])
def test_release(guard, recipe):
    guard.check("tiny-reasoner", recipe=recipe)
"""


@pytest.fixture(autouse=True)
def not_under_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


def files_below(folder: pathlib.Path) -> dict[str, bytes]:
    """Read all files; where a writer at work took one away meanwhile, once more."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def verdicts(result: pytest.RunResult) -> list[str]:
    return sorted(line.split()[0] for line in result.stdout.lines if " accuracy: " in line and line.startswith("  "))


def test_with_and_without_xdist_files_and_verdicts_are_the_same(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TWO_GATES)
    found = {}
    # Workers are processes of their own, each of which loads torch; without them this one does.
    ways: dict[str, tuple[Callable[..., pytest.RunResult], list[str]]] = {
        "plain": (pytester.runpytest_inprocess, ["-p", "no:xdist"]),
        "parallel": (pytester.runpytest_subprocess, ["-n", "2"]),
    }
    for name, (start, options) in ways.items():
        update = [*options, "--quantguard", f"--quantguard-baselines={name}"]
        first = start(*update, "--quantguard-update=all")
        first.stdout.fnmatch_lines(["quantguard: 2 MEASURED"])
        second = start(*update)
        second.assert_outcomes(passed=2)
        found[name] = (files_below(pytester.path / name), verdicts(second))
    assert len(found["plain"][0]) == 2
    assert found["plain"] == found["parallel"]


@pytest.fixture
def measured(pytester: pytest.Pytester) -> pathlib.Path:
    """A small gate and its baseline."""
    write_gate(pytester, settings=SMALL)
    run(pytester, "--quantguard-update=new").stdout.fnmatch_lines(["quantguard: 1 MEASURED"])
    return pytester.path / "baselines" / W8A8


def test_an_update_that_changes_nothing_leaves_the_file_as_it_is(
    pytester: pytest.Pytester, measured: pathlib.Path
) -> None:
    before = measured.read_bytes()
    result = run(pytester, "--quantguard-update=all")
    result.stdout.fnmatch_lines(["*MEASURED*", "baseline unchanged: *"])
    assert measured.read_bytes() == before


@pytest.mark.parametrize("update", ["new", "changed"])
def test_new_and_changed_leave_good_baselines_to_be_judged(
    pytester: pytest.Pytester, measured: pathlib.Path, update: str
) -> None:
    before = measured.read_bytes()
    result = run(pytester, f"--quantguard-update={update}")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["quantguard: 1 PASS"])
    assert measured.read_bytes() == before


def test_changed_replaces_a_damaged_baseline(pytester: pytest.Pytester, measured: pathlib.Path) -> None:
    before = measured.read_bytes()
    measured.write_text("{")
    run(pytester, "--quantguard-update=changed").stdout.fnmatch_lines(["baseline written: *"])
    assert measured.read_bytes() == before


def test_a_worse_baseline_needs_a_reason_which_is_kept(pytester: pytest.Pytester) -> None:
    write_gate(pytester, recipe="w3a16", settings="tol=0.045, subset=40")
    path = pytester.path / "baselines/cpu/tiny-reasoner/w3a16/word-problems.json"
    result = run(pytester, "--quantguard-update=new")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*not accepted as a baseline: against full precision*"])
    assert not path.exists()
    run(pytester, "--quantguard-update=new", "--quantguard-accept-regression=we want it small").assert_outcomes(
        skipped=1
    )
    assert baselines.read(path).acceptance.why == "we want it small"


@pytest.mark.timeout(600)
def test_a_run_that_is_killed_leaves_whole_files(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TWO_GATES)
    folder = pytester.path / "stored"
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--quantguard", f"--quantguard-baselines={folder}"]
    update = [*command, "--quantguard-update=all"]
    # What workers write is what this process writes: see the first test.
    run(pytester, f"--quantguard-baselines={folder}", "--quantguard-update=all")
    whole = files_below(folder)
    assert len(whole) == 2
    old = {
        name: content.replace(b"no worse than tolerated", b"before the killed run.") for name, content in whole.items()
    }
    for extra in (0.0, 0.005):
        # An old file that differs, with a hash that no longer fits, is measured anew and replaced.
        for name, content in old.items():
            (folder / name).write_bytes(content)
        with subprocess.Popen(
            update, cwd=pytester.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ) as process:
            while process.poll() is None and files_below(folder) == old:
                time.sleep(0.001)
            time.sleep(extra)
            os.killpg(process.pid, signal.SIGKILL)
        left = {name: content for name, content in files_below(folder).items() if SCRATCH_PREFIX not in name}
        assert left.keys() == whole.keys()
        assert all(content in (old[name], whole[name]) for name, content in left.items())
