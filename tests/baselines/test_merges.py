"""Branches that update different gates merge without a word; those that update the same gate never do in silence."""

import pathlib
import subprocess

import pytest

from quantguard.baselines import Acceptance, Baseline, BaselineItem, read, write
from quantguard.errors import BaselineError
from quantguard.records import Score
from tests.support.fingerprints import fingerprint_of


def score(sample_id: str, value: float) -> Score:
    return Score(
        sample_id=sample_id, epoch=0, value=value, answer="7", explanation="boxed", num_tokens=9, finish_reason="stop"
    )


def baseline(recipe: str, *, lost: int | None = None, why: str = "measured") -> Baseline:
    """Fifty items, of which one may be lost."""
    return Baseline(
        platform="cpu",
        model="m",
        recipe=recipe,
        benchmark="b",
        fingerprint=fingerprint_of(),
        recorded={},
        acceptance=Acceptance(by="me", on="2026-01-01", why=why),
        items=tuple(
            BaselineItem(
                sample_id=f"i{i}", epoch=0, reference=score(f"i{i}", 1.0), accepted=score(f"i{i}", float(i != lost))
            )
            for i in range(50)
        ),
    )


class Project:
    """A repository with the baselines of two gates."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.git("init")
        for recipe in ("w8a8", "w4a8"):
            write(self.path(recipe), baseline(recipe))
        self.commit("Both gates")

    def path(self, recipe: str) -> pathlib.Path:
        return self.folder / f"baselines/cpu/m/{recipe}/b.json"

    def git(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        who = ["-c", "user.name=me", "-c", "user.email=me@example.com", "-c", "init.defaultBranch=main"]
        return subprocess.run(["git", *who, *arguments], cwd=self.folder, check=False, capture_output=True, text=True)

    def commit(self, message: str) -> None:
        assert self.git("add", "-A").returncode == 0
        assert self.git("commit", "-m", message).returncode == 0

    def on_branch(self, name: str, changed: Baseline) -> None:
        assert self.git("switch", "--create", name, "main").returncode == 0
        write(self.path(changed.recipe), changed)
        self.commit(name)


@pytest.fixture
def project(tmp_path: pathlib.Path) -> Project:
    return Project(tmp_path)


def test_updates_of_different_gates_merge_clean(project: Project) -> None:
    project.on_branch("one", baseline("w8a8", lost=3))
    project.on_branch("two", baseline("w4a8", lost=40))
    assert project.git("merge", "one").returncode == 0
    assert read(project.path("w8a8")) == baseline("w8a8", lost=3)
    assert read(project.path("w4a8")) == baseline("w4a8", lost=40)


@pytest.mark.parametrize("side", ["--ours", "--theirs"])
def test_updates_of_one_gate_conflict_however_far_apart_their_items_are(project: Project, side: str) -> None:
    project.on_branch("one", baseline("w8a8", lost=3))
    project.on_branch("two", baseline("w8a8", lost=40))
    assert project.git("merge", "one").returncode != 0
    path = project.path("w8a8")
    with pytest.raises(BaselineError, match="a merge that was not finished") as refused:
        read(path)
    # The command that it tells is the one that mends it.
    assert f"git checkout --ours {path} or --theirs" in str(refused.value)
    assert project.git("checkout", side, str(path)).returncode == 0
    assert read(path) == baseline("w8a8", lost=40 if side == "--ours" else 3)


def test_a_conflict_that_was_mended_by_hand_is_noticed(project: Project) -> None:
    """Items of one run under the hash of another are no run that was ever made."""
    project.on_branch("one", baseline("w8a8", lost=3))
    project.on_branch("two", baseline("w8a8", lost=40))
    project.git("merge", "one")
    path = project.path("w8a8")
    kept, side = [], "both"
    for line in path.read_text().splitlines(keepends=True):
        if line.startswith(("<<<<<<<", "=======", ">>>>>>>")):
            side = {"<": "ours", "=": "theirs", ">": "both"}[line[0]]
        elif side != "theirs":
            kept.append(line)
    path.write_text("".join(kept))
    with pytest.raises(BaselineError, match=r"was edited.*--quantguard-update=changed"):
        read(path)
