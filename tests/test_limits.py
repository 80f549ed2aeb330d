"""Every test of this repository has a time limit, and no gate has, here or in a user's project."""

import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def test_every_test_has_a_limit(pytestconfig: pytest.Config) -> None:
    assert 60 <= float(pytestconfig.getini("timeout")) <= 1800


@pytest.mark.timeout(300)
def test_a_test_that_stands_still_fails_with_its_stack_and_a_gate_goes_on(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ntimeout = 1\n")
    pytester.makepyfile("import time\n\ndef test_still():\n    time.sleep(30)\n")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*time.sleep(30)", "*Timeout (>1.0s) from pytest-timeout*"])
    pytester.makeconftest((ROOT / "conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile("import time\n\ndef test_gate(guard):\n    time.sleep(2)\n")
    result = pytester.runpytest_subprocess("--quantguard", "-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["*this gate measured nothing*"])
    assert "Timeout" not in result.stdout.str()
    # A limit that is typed is meant for gates too.
    result = pytester.runpytest_subprocess("--quantguard", "--timeout=1", "-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["*Timeout (>1.0s) from pytest-timeout*"])


def test_a_user_needs_no_plugin_for_limits() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "pytest-timeout" not in project.partition("[project.optional-dependencies]")[0]
    for package in ("quantguard", "pytest_quantguard"):
        assert not any("pytest_timeout" in path.read_text(encoding="utf-8") for path in (ROOT / package).rglob("*.py"))
