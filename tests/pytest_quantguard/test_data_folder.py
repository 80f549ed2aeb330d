"""Benchmarks whose files are not in the package are looked for where the option says, for that run alone."""

import os

import pytest

from quantguard.benchmarks import _data_files
from quantguard.run_options import DATA_VARIABLE
from tests.support.gate_runs import assert_error, run

pytestmark = pytest.mark.usefixtures("shared_models")

GATE = """
import quantguard

@quantguard.accuracy(tol=0.045, benchmark="gsm8k")
def test_release(guard):
    guard.check("tiny-reasoner", recipe="w8a8")
"""


def test_a_gate_without_its_benchmarks_file_is_an_error_that_names_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert DATA_VARIABLE == _data_files.VARIABLE
    monkeypatch.setenv(DATA_VARIABLE, "elsewhere")
    pytester.makepyfile(test_release=GATE)
    pytester.mkdir("data")
    monkeypatch.delenv("CI", raising=False)
    result = run(pytester, "--quantguard-data=data", "--quantguard-update=new")
    assert_error(pytester, result, f"*{pytester.path}/data/gsm8k/test.jsonl is not there*")
    assert os.environ[DATA_VARIABLE] == "elsewhere"


def test_a_folder_that_is_not_there_is_a_usage_error(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--quantguard", "--quantguard-data=nowhere")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--quantguard-data nowhere: there is no folder */nowhere"])
