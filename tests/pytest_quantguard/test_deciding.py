"""Early stopping, plans, noise and reruns through the plugin."""

import dataclasses
import pathlib
import sys
from typing import Any

import pytest

from quantguard import baselines
from quantguard.baselines import Noise
from quantguard.cli import __main__ as cli
from quantguard.pipeline import PipelineSession
from quantguard.records import RunRecord
from tests.support.gate_runs import ROOT, W8A8, assert_error, copy_baselines, run, write_gate

pytestmark = pytest.mark.usefixtures("shared_models")


def test_a_clear_verdict_ends_the_run_early_and_says_so(pytester: pytest.Pytester) -> None:
    write_gate(pytester)
    copy_baselines(pytester)
    result = run(pytester)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*of 105 items; a drop of 4.5 points is ruled out*; decided after 105 of 300 items"])


def test_early_stopping_is_left_out_where_the_marker_or_the_option_says_so(pytester: pytest.Pytester) -> None:
    copy_baselines(pytester)
    write_gate(pytester, settings="tol=0.045, early_stop='off'")
    run(pytester).stdout.fnmatch_lines(["*of 300 items; a drop of 4.5 points is ruled out*"])
    write_gate(pytester)
    result = run(pytester, "--quantguard-early-stop=betting")
    result.stdout.fnmatch_lines(["*decided after 128 of 300 items"])


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ("early_stop='often'", "*possible are group-sequential, betting, off*"),
        ("cluster='passage', early_stop='betting'", "*clusters are judged as a whole*"),
        ("budget=2", "*greedy decoding has no other*"),
    ],
    ids=["method", "clusters", "budget"],
)
def test_what_cannot_be_meant_is_refused_where_it_is_written(
    pytester: pytest.Pytester, settings: str, complaint: str
) -> None:
    write_gate(pytester, settings=settings)
    run(pytester).stdout.fnmatch_lines([complaint])


def test_a_cluster_that_items_do_not_have_is_an_error(pytester: pytest.Pytester) -> None:
    copy_baselines(pytester)
    write_gate(pytester, settings="cluster='passage'")
    assert_error(pytester, run(pytester), "*300 items of word-problems have no such metadata*")


RERUN = """
import quantguard

@quantguard.accuracy(tol=0.045)
def test_first(guard):
    guard.check("tiny-reasoner", recipe="w8a8")

@quantguard.accuracy(tol=0.045)
def test_again(guard):
    guard.check("tiny-reasoner", recipe="w8a8")
"""


def test_a_second_check_is_judged_together_with_a_first_that_regressed(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that went wrong and one that went well do not come to green by trying again."""
    pytester.makepyfile(test_release=RERUN)
    copy_baselines(pytester)
    measure, calls = PipelineSession.run, iter(range(10))

    def wrong_at_first(self: PipelineSession, *arguments: Any, **more: Any) -> RunRecord:
        record = measure(self, *arguments, **more)
        if next(calls):
            return record
        scores = [dataclasses.replace(s, value=0.0) if i % 3 else s for i, s in enumerate(record.scores)]
        return dataclasses.replace(record, scores=tuple(scores))

    monkeypatch.setattr(PipelineSession, "run", wrong_at_first)
    result = run(pytester)
    outcomes = [line.split()[0] for line in result.stdout.lines if line.startswith("  ") and " accuracy: " in line]
    assert outcomes == ["REGRESSED", "REGRESSED"]
    result.stdout.fnmatch_lines(["*judged together with what did not pass earlier, 1 of this gate*"])
    later = run(pytester, "--quantguard-fresh", "-k", "again")
    later.assert_outcomes(passed=1, deselected=1)


def test_a_plan_runs_nothing_and_tells_items_tokens_and_chances(pytester: pytest.Pytester) -> None:
    write_gate(pytester)
    copy_baselines(pytester)
    result = run(pytester, "--quantguard-plan")
    result.assert_outcomes(skipped=1)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "test_release.py::test_release",
            "*accuracy: 300 items, 4.5 points tolerated; 0.3% of the items flip (between full precision*",
            "*nothing changed: PASS 100%, INCONCLUSIVE 0%*",
            "*smallest drop that is REGRESSED in 80% of runs: *points",
            "*tokens: about *",
            "quantguard: planned, nothing run",
        ]
    )


def test_a_plan_travels_from_the_workers_and_fails_where_a_gate_cannot_decide(pytester: pytest.Pytester) -> None:
    write_gate(pytester, settings="tol=0.045, subset=50")
    result = pytester.runpytest_subprocess("--quantguard", "--quantguard-plan", "-n", "1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assumed: there is no baseline yet*", "*CANNOT DECIDE: it cannot PASS: 66 items*"])


def test_a_plan_of_an_update_is_a_usage_error(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    write_gate(pytester)
    result = run(pytester, "--quantguard-plan", "--quantguard-update=new")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def with_noise(pytester: pytest.Pytester, num_flips: int) -> pathlib.Path:
    path = copy_baselines(pytester) / W8A8
    noise = Noise(num_items=300, num_flips=num_flips, varied="x", on="d", fingerprint=baselines.read(path).fingerprint)
    baselines.write_noise(baselines.noise_path(path), noise)
    return path


def test_flips_within_the_noise_are_said_to_be(pytester: pytest.Pytester) -> None:
    write_gate(pytester)
    path = with_noise(pytester, 6)
    run(pytester).stdout.fnmatch_lines(["*no more than between two runs of the same model (2.0%)"])
    run(pytester, "--quantguard-plan").stdout.fnmatch_lines(["*2.0% of the items flip (between two runs of the model)"])
    baselines.noise_path(path).write_text("{}")
    assert_error(pytester, run(pytester), "*is damaged*quantguard aa*")


def test_a_gate_that_the_noise_makes_undecidable_is_refused(pytester: pytest.Pytester) -> None:
    write_gate(pytester)
    with_noise(pytester, 90)
    assert_error(pytester, run(pytester), "*30.0% of the items flip between two runs of this model*are needed for 80%*")


def invoke(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["quantguard", *arguments])
    return cli.main()


def test_the_command_plans_by_a_baseline_or_a_benchmark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(ROOT / "baselines" / W8A8)
    assert invoke(monkeypatch, "plan", "--baseline", path, "--tokens-per-second", "100") == 0
    shown = capsys.readouterr().out
    assert "300 items" in shown
    assert "time: 3.9 minutes at most" in shown
    assert invoke(monkeypatch, "plan", "--subset", "60") == 1
    assert "CANNOT DECIDE" in capsys.readouterr().out
    assert invoke(monkeypatch, "plan", "--tol", "4.5") == 2
    assert invoke(monkeypatch, "plan", "--subset", "5000") == 2


def test_a_model_against_itself_is_kept_beside_its_baseline(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copy_baselines(pytester) / W8A8
    whole = baselines.read(path)
    baselines.write(
        path, baselines.Baseline(**{f: getattr(whole, f) for f in whole.__slots__} | {"items": whole.items[:20]})
    )
    assert invoke(monkeypatch, "aa", "tiny-reasoner", "--recipe", "w8a8") == 0
    assert "of 20 items flip between two runs (order, batch size)" in capsys.readouterr().out
    noise = baselines.read_noise(baselines.noise_path(path))
    assert noise is not None
    assert noise.fingerprint == whole.fingerprint
    assert all(baselines.read(other) for other in (pytester.path / "baselines").rglob("word-problems.json"))
    assert invoke(monkeypatch, "aa", "tiny-reasoner", "--recipe", "w8a8", "--max-new-tokens", "5") == 2
    assert "decoding differ" in capsys.readouterr().err
