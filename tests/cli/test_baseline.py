"""The life of a baseline on the command line: compared, remembered, accepted, renamed, removed."""

import dataclasses
import json
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from quantguard import registry
from quantguard.baselines import (
    Acceptance,
    Baseline,
    LayerProfile,
    Noise,
    baseline_from_runs,
    baseline_path,
    dump,
    noise_path,
    read,
    write,
    write_noise,
)
from quantguard.baselines.suites import remember
from quantguard.baselines.survey import Notice
from quantguard.cli import __main__ as cli
from quantguard.gates import GateResult
from quantguard.records import GenerationConfig, LayerSketch, QuantArgs, Recipe, RunRecord, Score, Verdict
from quantguard.records.record_file import dump_record
from quantguard.report import output_files
from tests.support.fingerprints import fingerprint_of

Command = Callable[..., tuple[int, str]]
NUM_ITEMS = 200
W8A8 = Recipe(name="w8a8", weights=QuantArgs(num_bits=8, strategy="channel"))
CONFIG = GenerationConfig(max_new_tokens=224)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["quantguard", "baseline", *map(str, arguments)])
        status = cli.main()
        shown = capsys.readouterr()
        return status, shown.out + shown.err

    return run


def record(*, lost: int = 0, num_items: int = NUM_ITEMS, recipe: Recipe | None = W8A8, **facts: Any) -> RunRecord:
    """A run that answers all but the first items right."""
    ids = [sample.id for sample in registry.benchmarks["word-problems"].load().samples[:num_items]]
    scores = tuple(
        Score(
            sample_id=id_,
            epoch=0,
            value=float(index >= lost),
            answer=str(index),
            explanation="boxed",
            num_tokens=9,
            finish_reason="stop",
        )
        for index, id_ in enumerate(ids)
    )
    matching = {"scorer": "boxed/1", "engine": "e/1", "recipe": recipe.fingerprint if recipe else "full-precision"}
    return RunRecord(
        model="m",
        recipe=recipe,
        benchmark="word-problems",
        platform="cpu",
        generation_config=CONFIG,
        scores=scores,
        kernels={},
        fingerprint=fingerprint_of(**matching | facts),
        recorded={"torch": "2"},
        metrics=dict.fromkeys(("accuracy", "truncated", "unparsed", "repeating", "mean_num_tokens"), 0.0),
    )


def baseline(*, lost: int = 0, why: str = "first", engine: str = "e/1") -> Baseline:
    accepted = Acceptance(by="ann", on="2026-01-01", why=why)
    return baseline_from_runs(record(lost=lost, engine=engine), record(recipe=None).scores, accepted)


@pytest.fixture
def stored(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "baselines/cpu/m/w8a8/word-problems.json"
    write(path, baseline())
    return path


def git(folder: pathlib.Path, *arguments: str) -> None:
    who = ["-c", "user.name=bob", "-c", "user.email=bob@example.com", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder: pathlib.Path, message: str) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-m", message)


@pytest.fixture
def committed(stored: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    git(tmp_path, "init")
    commit(tmp_path, "Measure w8a8")
    return stored


def test_two_files_are_compared_by_items_fingerprint_and_verdict(stored: pathlib.Path, command: Command) -> None:
    worse = stored.with_name("other.json")
    write(worse, baseline(lost=30, why="smaller is worth it", engine="e/2"))
    status, shown = command("diff", stored, worse)
    assert status == 1
    for expected in (
        "accepted        100.0% -> 85.0% (-15.0 points)",
        "full precision  100.0% -> 100.0% (+0.0 points)",
        "lost            30 of 200",
        "    and 10 more",
        "gained          0 of 200",
        "engine          e/1 -> e/2 (must match)",
        "by ann on 2026-01-01: smaller is worth it",
        "REGRESSED",
    ):
        assert expected in shown
    status, shown = command("diff", worse, stored)
    assert status == 0
    assert "PASS" in shown


def test_one_file_is_compared_with_what_git_has(
    committed: pathlib.Path, tmp_path: pathlib.Path, command: Command
) -> None:
    write(committed, baseline(lost=2))
    assert command("diff", committed)[0] == 0
    assert "lost            2 of 200" in command("diff", committed)[1]
    commit(tmp_path, "Two lost")
    assert "lost            0 of 200" in command("diff", committed)[1]
    assert "lost            2 of 200" in command("diff", committed, "--rev", "HEAD~1")[1]
    status, shown = command("diff", committed, "--rev", "nothing")
    assert status == 2
    assert "git cannot tell" in shown
    assert command("diff", committed, committed, "--rev", "HEAD")[0] == 2


def test_profiles_of_layers_are_shown_and_compared(tmp_path: pathlib.Path, command: Command) -> None:
    layers = (LayerSketch(name="layer.0", op=None, buckets=(1.0, 2.0)), LayerSketch(name="b", op=None, buckets=(1, 1)))
    profile = LayerProfile(
        platform="cpu",
        model="m",
        recipe="r",
        fingerprint=fingerprint_of(),
        recorded={},
        acceptance=Acceptance(by="ann", on="2026-01-01", why="measured"),
        layers=layers,
    )
    old, new = tmp_path / "layers.json", tmp_path / "new.json"
    write(old, profile)
    write(new, dataclasses.replace(profile, layers=(dataclasses.replace(layers[0], buckets=(1.0, 2.2)), layers[1])))
    assert "2 layers and blocks" in command("show", old)[1]
    assert command("diff", old, old)[0] == 0
    status, shown = command("diff", old, new)
    assert status == 1
    assert "layer.0 " in shown
    assert "8.94%" in shown
    other = tmp_path / "items.json"
    write(other, baseline())
    assert command("diff", old, other)[0] == 2


def test_history_tells_who_accepted_what_when_and_why_under_every_name(
    committed: pathlib.Path, tmp_path: pathlib.Path, command: Command
) -> None:
    write(committed, baseline(lost=10, why="smaller is worth it"))
    commit(tmp_path, "Accept the smaller one")
    committed.write_text(dump(baseline(lost=10)).replace('"ann"', '"eve"'))
    commit(tmp_path, "An edit by hand")
    moved = committed.with_name("renamed.json")
    git(tmp_path, "mv", str(committed), str(moved))
    write(moved, baseline(lost=5))
    commit(tmp_path, "Rename it")
    status, shown = command("history", moved)
    assert status == 0
    for expected in (
        "100.0% of 200, full precision 100.0%",
        "95.0% (-5.0 points) of 200",
        "97.5% (+2.5 points) of 200",
        "accepted by ann: smaller is worth it",
        "commit by bob: Accept the smaller one",
        "NOT VALID: it was edited",
    ):
        assert expected in shown
    assert shown.index("Rename it") < shown.index("An edit by hand") < shown.index("Measure w8a8")
    assert "Measure w8a8" not in command("history", moved, "--count", "2")[1]


def test_history_needs_git_and_a_commit(
    stored: pathlib.Path, tmp_path: pathlib.Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, shown = command("history", stored)
    assert status == 2
    assert "not a git repository" in shown
    git(tmp_path, "init")
    (tmp_path / "a").write_text("a")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "a")
    assert f"no commit has {stored}. Type: git add" in command("history", stored)[1]
    assert "there is no folder" in command("history", tmp_path / "nowhere/b.json")[1]
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        assert "git is not installed here" in command("history", stored)[1]


def results(folder: pathlib.Path, run: RunRecord, verdict: Verdict | None = None) -> pathlib.Path:
    """Write the report of a gate that ran."""
    verdict = verdict or Verdict(outcome="REGRESSED", metric="accuracy", reason="worse", margin=0.05)
    result = GateResult(
        gate="accuracy",
        model="m",
        recipe="w8a8",
        subject="word-problems",
        platform="cpu",
        verdict=verdict,
        record=run,
    )
    output_files.write_all(folder, [("test_a", result)])
    return folder / output_files.RESULTS


def test_a_run_of_a_gate_is_accepted_without_running_again(
    stored: pathlib.Path, tmp_path: pathlib.Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_AUTHOR_NAME", "carl")
    run = record(lost=1)
    # A gate runs its items in an order of its own.
    report = results(tmp_path / "out", dataclasses.replace(run, scores=run.scores[::-1]))
    status, shown = command("accept", stored, report)
    assert status == 0
    assert "PASS" in shown
    assert f"baseline written: {stored}" in shown
    found = read(stored)
    assert found.scores("baseline") == run.scores
    assert found.sample_ids == baseline().sample_ids
    assert (found.acceptance.by, found.acceptance.why) == ("carl", "no worse than tolerated")
    assert "baseline unchanged" in command("accept", stored, report)[1]


def test_a_worse_run_needs_a_reason_which_is_kept(
    stored: pathlib.Path, tmp_path: pathlib.Path, command: Command
) -> None:
    report, before = results(tmp_path / "out", record(lost=40)), stored.read_bytes()
    status, shown = command("accept", stored, report)
    assert status == 2
    assert "not accepted as a baseline: against full precision" in shown
    assert "add --reason REASON" in shown
    assert command("accept", stored, report, "--reason", "  ")[0] == 2
    assert stored.read_bytes() == before
    assert command("accept", stored, report, "--reason", "half the memory")[0] == 0
    assert read(stored).acceptance.why == "half the memory"


def test_what_is_no_run_of_the_gate_is_not_accepted(
    stored: pathlib.Path, tmp_path: pathlib.Path, command: Command
) -> None:
    def refused(run: RunRecord, *options: str, verdict: Verdict | None = None, path: pathlib.Path = stored) -> str:
        status, shown = command("accept", path, results(tmp_path / "out", run, verdict), "--reason", "r", *options)
        assert status == 2
        return shown

    before = stored.read_bytes()
    error = Verdict(outcome="ERROR", metric="accuracy", reason="the runs are not comparable")
    assert "ended as ERROR, which is no run to accept: the runs are not comparable" in refused(record(), verdict=error)
    assert "100 of the baseline's 200 are not among them" in refused(record(num_items=100))
    assert "engine differ, so its full precision may too" in refused(record(engine="e/2"))
    other = baseline_path(tmp_path, platform="cpu", model="other", recipe="w8a8", benchmark="word-problems")
    assert "no accuracy gate in it has its baseline at" in refused(record(), path=other)
    unanswered = dataclasses.replace(
        record(), scores=tuple(dataclasses.replace(score, value=None) for score in record().scores)
    )
    assert "only 0 of 200 items have a judged outcome" in refused(unanswered)
    assert "--tol 4.5" in refused(record(), "--tol", "4.5")
    report = results(tmp_path / "out", record())
    report.write_text(report.read_text().replace('"value": 1.0', '"value": 0.0', 1))
    status, shown = command("accept", stored, report)
    assert status == 2
    assert "was edited" in shown
    assert stored.read_bytes() == before


def test_a_record_with_its_full_precision_makes_a_new_baseline(tmp_path: pathlib.Path, command: Command) -> None:
    path = tmp_path / "baselines/cpu/m/w8a8/word-problems.json"
    run, full = tmp_path / "run.json", tmp_path / "full.json"
    run.write_text(dump_record(record(lost=1, engine="e/2")))
    full.write_text(dump_record(record(recipe=None, engine="e/2")))
    assert "then quantguard baseline accept" in command("accept", path, run)[1]
    assert "is not full precision of the same run" in command("accept", path, run, "--reference", run)[1]
    assert command("accept", path, run, "--reference", full)[0] == 0
    assert read(path).scores("reference") == record(recipe=None).scores
    elsewhere = tmp_path / "baselines/cpu/m/w4a8/word-problems.json"
    assert (
        "its baseline belongs at cpu/m/w8a8/word-problems.json"
        in command("accept", elsewhere, run, "--reference", full)[1]
    )
    full.write_text(dump_record(record(recipe=None)))
    assert "is not full precision of the same run: engine" in command("accept", path, run, "--reference", full)[1]


def test_a_baseline_is_moved_to_the_names_of_its_gate(stored: pathlib.Path, command: Command) -> None:
    noise = Noise(num_items=200, num_flips=1, varied="order", on="2026-01-01", fingerprint=fingerprint_of())
    write_noise(noise_path(stored), noise)
    status, shown = command("rename", stored, "--model", "org/m2")
    moved = stored.parents[2] / "org--m2/w8a8/word-problems.json"
    assert status == 0
    assert str(moved) in shown
    assert read(moved) == dataclasses.replace(baseline(), model="org/m2")
    assert noise_path(moved).exists()
    assert not stored.exists()
    assert "has these names already" in command("rename", moved)[1]
    write(stored, baseline())
    assert "quantguard baseline diff" in command("rename", stored, "--model", "org/m2")[1]
    moved.unlink()
    write_noise(noise_path(stored), noise)
    assert "there is the noise of another baseline at" in command("rename", stored, "--model", "org/m2")[1]
    assert stored.exists()


def test_what_a_whole_run_did_not_use_is_listed_and_only_then_removed(
    stored: pathlib.Path, tmp_path: pathlib.Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTGUARD_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "baselines"
    status, shown = command("prune", "--baselines", root)
    assert status == 2
    assert "Type: pytest --quantguard" in shown
    changed = stored.with_name("changed.json")
    write(changed, baseline())
    write_noise(noise_path(stored), Noise(num_items=2, num_flips=1, varied="", on="", fingerprint=fingerprint_of()))
    unused = [Notice(kind="unused", path=str(path), why="", command="") for path in (stored, changed)]
    remember(root, ["cpu"], unused)
    write(changed, baseline(lost=1))
    status, shown = command("prune", "--baselines", root)
    assert status == 0
    assert f"unused: {stored}" in shown
    assert "Nothing was removed" in shown
    assert stored.exists()
    assert f"removed: {stored}" in command("prune", "--baselines", root, "--yes")[1]
    assert not stored.exists()
    assert not noise_path(stored).exists()
    # What has been written since that run may be in use.
    assert changed.exists()
    [memory] = (tmp_path / "cache/suites").glob("*.json")
    memory.write_text(json.dumps({"at": "now"}))
    assert "is damaged: it has no sha256" in command("prune", "--baselines", root)[1]
