"""Texts with a known score: a scorer that gets one of them wrong may not score a model's answers.

Nothing else would reveal a scorer that accepts everything: accuracy only rises.
"""

import types
from typing import NamedTuple

from quantguard.errors import MeasurementError
from quantguard.records import FinishReason, Generation, Sample


class KnownAnswer(NamedTuple):
    """A text that a model may write, the target, and the right score, 0..1."""

    text: str
    target: str
    value: float


def require_sound(scorer: types.ModuleType, name: str) -> None:
    """Score the ``KNOWN_ANSWERS`` of a scorer, if it has any; raise MeasurementError for a wrong score.

    Each is also scored as cut off at the token limit, where even a right answer scores 0.
    """
    known: tuple[KnownAnswer, ...] = getattr(scorer, "KNOWN_ANSWERS", ())
    for answer in known:
        _require(scorer, name, answer, "stop", answer.value)
        _require(scorer, name, answer, "length", 0.0)


def _require(
    scorer: types.ModuleType, name: str, answer: KnownAnswer, finish_reason: FinishReason, value: float
) -> None:
    sample = Sample(id="known", input="", target=answer.target)
    generation = Generation(sample_id="known", epoch=0, text=answer.text, num_tokens=1, finish_reason=finish_reason)
    found = scorer.score(sample, generation).value
    if found != value:
        cut = " of an answer that was cut off" if finish_reason == "length" else ""
        raise MeasurementError(
            f"the scorer {name} is broken: to the text {answer.text!r}{cut} it gives {found}, where {answer.target!r}"
            f" is asked for and {value} is right. Nothing was judged; look at what changed in the scorer or below"
        )
