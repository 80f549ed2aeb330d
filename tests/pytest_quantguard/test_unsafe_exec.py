"""Programs are run without a sandbox where that was asked for by name, and for that run alone."""

import os
import sys

import pytest

from pytest_quantguard.options import UNSAFE_VARIABLE
from quantguard.cli.__main__ import main
from quantguard.sandbox import probe

SEES = f"""
import os

def test_what_it_sees():
    print("unsafe:", os.environ.get({UNSAFE_VARIABLE!r}))
"""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "unsafe: None"),
        (["--quantguard-unsafe-exec"], "unsafe: 1"),
        (["--quantguard-unsafe-exec", "-n1"], "unsafe: 1"),
    ],
    ids=["by default", "asked for", "asked for with xdist"],
)
def test_the_option_is_handed_to_the_library_while_pytest_runs(
    options: list[str], expected: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert UNSAFE_VARIABLE == probe.VARIABLE
    monkeypatch.delenv(UNSAFE_VARIABLE, raising=False)
    pytester.makepyfile(SEES)
    result = pytester.runpytest_inprocess("-rP", *options)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([expected])
    assert UNSAFE_VARIABLE not in os.environ


def test_the_command_line_hands_it_over_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(UNSAFE_VARIABLE, "0")
    monkeypatch.setattr(sys, "argv", ["quantguard", "evaluate", "no-such-model", "--unsafe-exec"])
    assert main() == 2
    assert "no-such-model" in capsys.readouterr().err
    assert probe.isolation().kind == "unsafe"
