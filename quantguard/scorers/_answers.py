"""Scoring an answer by comparing it with a target: what every such scorer does around its comparison."""

from collections.abc import Callable

from quantguard.errors import DataError
from quantguard.records import Generation, Sample, Score
from quantguard.scorers._reasoning import after_thinking

_BOX = "\\boxed{"


# What was taken for the answer, its value, and the rule that decided.
Judgement = tuple[str | None, float, str]


def score_boxed(sample: Sample, generation: Generation, compare: Callable[[str, str], tuple[float, str]]) -> Score:
    """Score the last box behind the thinking; ``compare(answer, target)`` gives a value and the rule that decided.

    An answer without a box is wrong by the rule ``unparsed``; see :func:`score_answer` for the rest.
    """

    def judge(text: str, target: str) -> Judgement:
        answer = last_boxed(text)
        value, rule = (0.0, "unparsed") if answer is None else compare(answer, target)
        return answer, value, rule

    return score_answer(sample, generation, judge)


def score_answer(sample: Sample, generation: Generation, judge: Callable[[str, str], Judgement]) -> Score:
    """Score what follows the thinking by ``judge(text, target)``.

    An answer that was cut off at the limit is not judged: it is wrong by the rule ``truncated``. Raises DataError for
    a sample without a target.
    """
    if sample.target is None:
        raise DataError(f"sample {sample.id} has no target to score against")
    answer, value, rule = None, 0.0, "truncated"
    if generation.finish_reason != "length":
        answer, value, rule = judge(after_thinking(generation.text), sample.target)
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
