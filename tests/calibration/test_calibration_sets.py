"""Calibration sets: every one gives the sequences asked for, the same ones each time."""

import pathlib
from typing import Any

import pytest

import quantguard
from quantguard import calibration
from quantguard.errors import QuantguardError
from quantguard.modeling import LoadedModel
from quantguard.records import CalibrationArgs


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return quantguard.load("tiny-reasoner")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("text") / "own.txt"
    path.write_text("Tom has 3 apples. " * 200, encoding="utf-8")
    return path


SOURCES: dict[str, Any] = {"benchmark-prompts": "word-problems", "reasoning-traces": "word-problems"}


@pytest.mark.parametrize("name", list(calibration.members))
def test_a_set_gives_what_is_asked_for(name: str, model: LoadedModel, text: pathlib.Path) -> None:
    source = str(text) if name == "text-file" else SOURCES.get(name)
    args = CalibrationArgs(dataset=name, num_samples=6, max_length=100, source=source)
    sequences = calibration.members[name].token_sequences(model, args)
    assert len(sequences) == 6
    assert all(1 < len(sequence) <= 100 for sequence in sequences)
    assert sequences == calibration.members[name].token_sequences(model, args)


def test_reasoning_traces_hold_prompt_and_reasoning(model: LoadedModel) -> None:
    args = CalibrationArgs(dataset="reasoning-traces", num_samples=3, max_length=250, source="word-problems")
    for sequence in calibration.members["reasoning-traces"].token_sequences(model, args):
        written = model.tokenizer.decode(sequence)
        assert "</think>" in written
        assert "user" in written


@pytest.mark.parametrize(
    ("name", "source", "complaint"),
    [
        pytest.param("text-file", None, "add source =", id="no file named"),
        pytest.param("text-file", "/nowhere/at/all.txt", "cannot be read", id="no such file"),
        pytest.param("benchmark-prompts", None, 'add source = "word-problems"', id="no benchmark named"),
        pytest.param("benchmark-prompts", "word-problem", "Did you mean 'word-problems'", id="a misspelt benchmark"),
        pytest.param("reasoning-traces", "text-fidelity", "puts no questions", id="a benchmark without prompts"),
    ],
)
def test_a_source_that_cannot_be_is_refused(name: str, source: str | None, complaint: str, model: LoadedModel) -> None:
    args = CalibrationArgs(dataset=name, num_samples=2, source=source)
    with pytest.raises(QuantguardError, match=complaint):
        calibration.members[name].token_sequences(model, args)


def test_too_short_a_text_is_refused(model: LoadedModel, text: pathlib.Path) -> None:
    args = CalibrationArgs(dataset="text-file", num_samples=500, source=str(text))
    with pytest.raises(QuantguardError, match="set num_samples to at most"):
        calibration.members["text-file"].token_sequences(model, args)


def test_chats_need_a_chat_template(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.tokenizer, "chat_template", None)
    with pytest.raises(QuantguardError, match="has no chat template: restore it, or take a set of plain text"):
        calibration.members["worked-problems"].token_sequences(model, CalibrationArgs(dataset="worked-problems"))
