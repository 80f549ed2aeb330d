"""The latency gate as a user meets it: a steady machine of its own, or no verdict. All clocks are planted."""

import contextlib
import functools
import itertools
import json
import os
import pathlib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import pytest

from quantguard.host.leases import TIMING, Leases, read_holder
from quantguard.measures import timing
from tests.support.gate_runs import assert_error, junit_failures, run
from tests.support.planted_results import timed_blocks

GATES = """
import quantguard

@quantguard.latency(stage="prefill", min_speedup=0.95, num_tokens=4)
def test_prefill(guard):
    guard.check("tiny-reasoner")

@quantguard.memory(max_ratio=4)
def test_memory(guard):
    guard.check("tiny-reasoner")
"""
# For workers: full precision and candidate take the same. The controller times nothing, and does without torch.
PLANTED_CLOCK = """
import functools, itertools

def pytest_configure(config):
    if hasattr(config, "workerinput"):
        from quantguard.measures import timing

        timing.stopwatch = functools.partial(timing.stopwatch, clock=itertools.count().__next__)
"""


@pytest.fixture(autouse=True)
def gates(pytester: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the gates, on a machine where nobody else times anything."""
    runtime = tmp_path_factory.mktemp("run")
    runtime.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    pytester.makepyfile(test_release=GATES)


def plant(monkeypatch: pytest.MonkeyPatch, speedup: float = 1.0, drift: float = 1.0) -> None:
    """Let the candidate be so much faster than full precision, on a machine that slows down over all blocks."""
    blocks = iter(timed_blocks(speedup=speedup, num_blocks=240, drift=drift))

    @contextlib.contextmanager
    def stopwatch(*_models: Any, **_settings: Any) -> Iterator[Any]:
        assert read_holder(TIMING) is not None
        yield lambda num_blocks: list(itertools.islice(blocks, num_blocks))

    monkeypatch.setattr(timing, "stopwatch", stopwatch)


def leases(said: list[str] | None = None, **settings: Any) -> Leases:
    announce = (said if said is not None else []).append
    return Leases(command="pytest --quantguard", run=None, announce=announce, **({"wait_seconds": 0} | settings))


@pytest.mark.parametrize("stage", ["prefill", "decode"])
def test_both_stages_are_timed_by_a_clock(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    ticking = functools.partial(timing.stopwatch, clock=itertools.count().__next__)
    monkeypatch.setattr(timing, "stopwatch", ticking)
    pytester.makepyfile(test_release=GATES.replace('"prefill"', repr(stage)))
    result = run(pytester, "-k", "prefill")
    result.assert_outcomes(passed=1, deselected=1)
    result.stdout.fnmatch_lines([f"*PASS*latency: {stage} * 4 tokens *", "*1.00 times as fast*over 30 blocks*"])


def test_a_candidate_that_is_slower_is_regressed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, speedup=0.87)
    result = run(pytester)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*REGRESSED*latency*", "*0.87 times as fast as full precision*"])


@pytest.mark.parametrize("policy", ["fail", "warn"])
def test_an_unstable_run_is_red_whatever_is_done_with_undecided_gates(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    plant(monkeypatch, speedup=2.0, drift=1e5)
    result = run(pytester, f"--quantguard-inconclusive={policy}", "--quantguard-report=out")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        ["*UNSTABLE*latency: prefill of 4 tokens*", "*the machine's speed drifted*", "quantguard: 1 PASS, 1 UNSTABLE"]
    )
    assert junit_failures(pytester) == 1
    properties = ET.parse(pytester.path / "junit.xml").getroot().iter("property")
    assert "UNSTABLE" in [one.get("value") for one in properties if one.get("name") == "quantguard.latency.outcome"]
    assert_told_in_files(pytester.path / "out")


def assert_told_in_files(folder: pathlib.Path) -> None:
    """Expect the outcome and its reason in every file of a report."""
    told = json.loads((folder / "results.json").read_text())["gates"][0]
    assert told["outcome"] == told["verdict"]["outcome"] == "UNSTABLE"
    assert len(told["timings"]) == 240
    assert "| UNSTABLE | latency |" in (folder / "summary.md").read_text()
    page = (folder / "report.html").read_text()
    assert '<span class="badge UNSTABLE">UNSTABLE</span>' in page
    assert "the machine&#39;s speed drifted" in page


def test_several_workers_are_refused_and_told_what_to_type(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(PLANTED_CLOCK)
    result = pytester.runpytest_subprocess("--quantguard", "-n", "2", "--junitxml=junit.xml")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR*latency*",
            "*2 workers of pytest-xdist share this machine*",
            "*pytest --quantguard -n 0 -m \"quantguard_gate(kind='latency')\"*",
        ]
    )
    assert junit_failures(pytester) == 1


def test_one_worker_times(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(PLANTED_CLOCK)
    result = pytester.runpytest_subprocess("--quantguard", "-n", "1")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*PASS*latency*"])


def test_what_the_refusal_says_to_type_takes_the_latency_gates_apart(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    alone = run(pytester, "-n", "0", "-m", "quantguard_gate(kind='latency')")
    alone.assert_outcomes(passed=1, deselected=1)
    alone.stdout.fnmatch_lines(["*PASS*latency*"])
    others = run(pytester, "-m", "not quantguard_gate(kind='latency')")
    others.assert_outcomes(passed=1, deselected=1)
    others.stdout.fnmatch_lines(["*PASS*memory*"])


def test_a_gate_in_a_file_is_known_by_its_kind_too(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    (pytester.path / "quantguard.toml").write_text(
        '[[gate]]\nname = "fast"\nmodel = "tiny-reasoner"\nlatency = { min_speedup = 0.95 }\n'
    )
    run(pytester, "quantguard.toml", "-m", "quantguard_gate(kind='latency')").assert_outcomes(passed=1)


def test_while_another_run_times_the_gate_waits_and_gives_up_naming_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    other = leases()
    with other.holding(TIMING):
        result = run(pytester, "-k", "prefill", "--quantguard-wait=1")
    assert_error(pytester, result, "*the timing of this machine is still held by process*--quantguard-wait=SECONDS*")
    result.stderr.fnmatch_lines(
        [f"*the timing of this machine is held by process {os.getpid()} (*) since *; waiting for it, at most 1 s*"]
    )


def test_the_timing_of_the_machine_is_given_back_after_the_gate(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    run(pytester, "-k", "prefill").assert_outcomes(passed=1, deselected=1)
    assert read_holder(TIMING) is None
    assert leases().try_hold(TIMING)


def test_a_lease_that_is_given_up_meanwhile_is_taken() -> None:
    first, said = leases(), list[str]()
    first.hold(TIMING)

    def give_up(text: str) -> None:
        said.append(text)
        first.release()

    second = Leases(command="pytest", run=None, wait_seconds=60, announce=give_up)
    with second.holding(TIMING):
        assert len(said) == 1
        assert not first.try_hold(TIMING)
    assert first.try_hold(TIMING)
    first.release()
