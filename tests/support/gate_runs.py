"""Shared parts of the plugin's tests: gate files, and the committed baselines."""

import pathlib
import shutil
import xml.etree.ElementTree as ET

import pytest

ROOT = pathlib.Path(__file__).parents[2]
COMMITTED = ROOT / "baselines"
W8A8 = pathlib.Path("cpu/tiny-reasoner/w8a8/word-problems.json")

GATE = """
import quantguard

@quantguard.accuracy({settings})
def test_release(guard):
    guard.check("tiny-reasoner", recipe={recipe!r})
"""


def write_gate(pytester: pytest.Pytester, recipe: str = "w8a8", settings: str = "tol=0.045") -> None:
    pytester.makepyfile(test_release=GATE.format(recipe=recipe, settings=settings))


def copy_baselines(pytester: pytest.Pytester) -> pathlib.Path:
    """Copy the committed baselines to where the gate looks for them, and return that folder."""
    return pathlib.Path(shutil.copytree(COMMITTED, pytester.path / "baselines"))


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    """Run the gates in this process, with a JUnit file."""
    return pytester.runpytest_inprocess("--quantguard", "--junitxml=junit.xml", *options)


def junit_failures(pytester: pytest.Pytester) -> int:
    suite = ET.parse(pytester.path / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    return int(suite.attrib["failures"]) + int(suite.attrib["errors"])


def assert_error(pytester: pytest.Pytester, result: pytest.RunResult, *lines: str) -> None:
    """Expect one failed gate with outcome ERROR, in the terminal, the exit status and JUnit."""
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ERROR*", *lines])
    assert junit_failures(pytester) == 1
