"""Texts with a known score: a scorer that gets one of them wrong may not score a model's answers.

Nothing else would reveal a scorer that accepts everything: accuracy only rises.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from quantguard.errors import MeasurementError
from quantguard.records import FinishReason, Generation, Sample, Score

_Score = Callable[[Sample, Generation], Score]


class KnownAnswer(NamedTuple):
    """A text that a model may write, the target, and the right score, 0..1."""

    text: str
    target: str
    value: float


def require_sound(score: _Score, known: Sequence[KnownAnswer], name: str) -> None:
    """Score known answers by the scorer that is called ``name``; raise MeasurementError for a wrong score.

    Each is also scored as cut off at the token limit, where even a right answer scores 0.
    """
    for answer in known:
        _require(score, name, answer, "stop", answer.value)
        _require(score, name, answer, "length", 0.0)


def _require(score: _Score, name: str, answer: KnownAnswer, finish_reason: FinishReason, value: float) -> None:
    sample = Sample(id="known", input="", target=answer.target)
    generation = Generation(sample_id="known", epoch=0, text=answer.text, num_tokens=1, finish_reason=finish_reason)
    found = score(sample, generation).value
    if found != value:
        cut = " of an answer that was cut off" if finish_reason == "length" else ""
        raise MeasurementError(
            f"the scorer {name} is broken: to the text {answer.text!r}{cut} it gives {found}, where {answer.target!r}"
            f" is asked for and {value} is right. Nothing was judged; look at what changed in the scorer or below"
        )
