"""A run reads each benchmark once, however many gates and tests it has: LiveCodeBench alone is a gigabyte."""

import collections
from typing import Any

import pytest

from quantguard import registry
from quantguard.benchmarks import Benchmark, Benchmarks, word_problems
from tests.support.gate_runs import copy_baselines

TWO_GATES = """
import quantguard

@quantguard.accuracy(tol=0.45, subset=40)
@quantguard.reasoning(max_repetition=0.5, subset=40)
def test_release(guard):
    guard.check("tiny-reasoner", recipe="w8a8")

@quantguard.accuracy(tol=0.45, subset=40)
def test_again(guard):
    guard.check("tiny-reasoner", recipe="w8a8")
"""


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> collections.Counter[str]:
    """Count how often a run reads word-problems."""
    counted: collections.Counter[str] = collections.Counter()
    load = word_problems.load

    def loaded() -> Benchmark:
        counted["word-problems"] += 1
        return load()

    monkeypatch.setattr(word_problems, "load", loaded)
    return counted


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    pytester.makepyfile(test_release=TWO_GATES)
    copy_baselines(pytester)
    return pytester.runpytest_inprocess("--quantguard", "-p", "no:cacheprovider", "-p", "no:xdist", *options)


def test_two_gates_and_two_tests_read_their_benchmark_once(
    pytester: pytest.Pytester, reads: collections.Counter[str]
) -> None:
    run(pytester).assert_outcomes(passed=2)
    assert reads["word-problems"] == 1


def test_a_report_that_shows_items_reads_nothing_again(
    pytester: pytest.Pytester, reads: collections.Counter[str]
) -> None:
    run(pytester, "--quantguard-report=report").assert_outcomes(passed=2)
    assert (pytester.path / "report" / "report.html").is_file()
    assert reads["word-problems"] == 1


def test_a_plan_reads_its_benchmark_once(pytester: pytest.Pytester, reads: collections.Counter[str]) -> None:
    run(pytester, "--quantguard-plan").assert_outcomes(skipped=2)
    assert reads["word-problems"] == 1


def test_a_run_that_forgets_what_it_has_read_is_told(
    pytester: pytest.Pytester, reads: collections.Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault: a session that reads the benchmark at every use."""

    def read_again(self: Benchmarks, name: str) -> Any:
        del self
        return registry.benchmarks[name].load()

    monkeypatch.setattr(Benchmarks, "__getitem__", read_again)
    run(pytester).assert_outcomes(passed=2)
    assert reads["word-problems"] > 1
