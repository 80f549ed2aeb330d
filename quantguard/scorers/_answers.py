"""Scoring an answer in a box: what every such scorer does around its comparison."""

from collections.abc import Callable

from quantguard.errors import DataError
from quantguard.records import Generation, Sample, Score
from quantguard.scorers._reasoning import after_thinking

_BOX = "\\boxed{"


def score_boxed(sample: Sample, generation: Generation, compare: Callable[[str, str], tuple[float, str]]) -> Score:
    """Score the last box behind the thinking; ``compare(answer, target)`` gives a value and the rule that decided.

    An answer that was cut off at the limit, or has no box, is wrong by the rule ``truncated`` or ``unparsed``. Raises
    DataError for a sample without a target.
    """
    if sample.target is None:
        raise DataError(f"sample {sample.id} has no target to score against")
    answer = None
    if generation.finish_reason == "length":
        value, rule = 0.0, "truncated"
    else:
        answer = last_boxed(after_thinking(generation.text))
        value, rule = (0.0, "unparsed") if answer is None else compare(answer, sample.target)
    return Score(
        sample_id=sample.id,
        epoch=generation.epoch,
        value=value,
        answer=answer,
        explanation=rule,
        num_tokens=generation.num_tokens,
        finish_reason=generation.finish_reason,
    )


def last_boxed(text: str) -> str | None:
    r"""Return the content of the last complete ``\boxed{...}``, braces balanced, or None."""
    end = len(text)
    while (start := text.rfind(_BOX, 0, end)) >= 0:
        depth = 1
        for position in range(start + len(_BOX), len(text)):
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            if depth == 0:
                return text[start + len(_BOX) : position].strip()
        end = start
    return None
