"""A scorer that is broken is told by answers whose score is known, before it judges a model's."""

import re

import pytest

from quantguard import scorers
from quantguard.benchmarks import word_problems
from quantguard.errors import MeasurementError
from quantguard.pipeline.scoring import Scoring
from quantguard.records import Generation
from quantguard.scorers import _answers, _numerals, _running_text, boxed, math, numbers
from quantguard.scorers._known_answers import require_sound


@pytest.mark.parametrize("name", sorted(set(scorers.members) - {"code"}))
def test_every_scorer_of_texts_has_known_answers_and_gets_them_right(name: str) -> None:
    known = scorers.members.require(name, scorers.Checkable).KNOWN_ANSWERS
    assert {0.0, 1.0} == {answer.value for answer in known}
    require_sound(scorers.members[name].score, known, name)


def test_a_scorer_that_takes_everything_for_right_judges_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxed, "same_answer", lambda _answer, _target: True)
    data = word_problems.load()
    with pytest.raises(MeasurementError, match=r"scorer boxed is broken: to the text .*28.* it gives 1.0, where '27'"):
        Scoring(data, data.samples, lambda _score: None)


def test_a_scorer_that_reads_thinking_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_answers, "after_thinking", lambda text: text)
    for name, scorer in (("boxed", boxed), ("math", math), ("numbers", numbers)):
        with pytest.raises(MeasurementError, match=f"scorer {name} is broken"):
            require_sound(scorer.score, scorer.KNOWN_ANSWERS, name)


def test_a_scorer_that_gives_way_to_a_box_that_was_taken_back_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def last_closed(text: str) -> str | None:
        return next(reversed(re.findall(r"\\boxed ?\{([^{}]*)\}", text)), None)

    monkeypatch.setattr(_answers, "last_boxed", last_closed)
    monkeypatch.setattr(numbers, "last_boxed", last_closed)
    for name, scorer in (("boxed", boxed), ("math", math), ("numbers", numbers)):
        with pytest.raises(MeasurementError, match=f"scorer {name} is broken: .*no: "):
            require_sound(scorer.score, scorer.KNOWN_ANSWERS, name)


def test_a_scorer_that_drops_commas_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    read = _numerals.number
    monkeypatch.setattr(boxed, "number", lambda text: read(text.replace(",", "")))
    with pytest.raises(MeasurementError, match=r"scorer boxed is broken: .*12,5"):
        require_sound(boxed.score, boxed.KNOWN_ANSWERS, "boxed")


def test_a_scorer_that_takes_one_of_two_numbers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_running_text, "_is_joined", lambda _before: False)
    with pytest.raises(MeasurementError, match=r"scorer numbers is broken: .*26 or 27"):
        require_sound(numbers.score, numbers.KNOWN_ANSWERS, "numbers")


def test_a_scorer_that_judges_what_was_cut_off_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    score = boxed.score
    monkeypatch.setattr(boxed, "score", lambda sample, g: score(sample, _ended(g)))
    with pytest.raises(MeasurementError, match=r"of an answer that was cut off it gives 1.0, .*and 0.0 is right"):
        require_sound(boxed.score, boxed.KNOWN_ANSWERS, "boxed")


def _ended(generation: Generation) -> Generation:
    return Generation(
        sample_id=generation.sample_id,
        epoch=generation.epoch,
        text=generation.text,
        num_tokens=generation.num_tokens,
        finish_reason="stop",
    )
