r"""Score the last ``\boxed{}`` that follows the thinking part, compared as a number where both sides are one.

The rule that fired is in ``Score.explanation``: ``boxed``, ``unparsed`` (no box after the thinking) or ``truncated``
(the limit came first: scored as wrong, and counted, since the judgement refuses to compare runs that truncate
differently).
"""

from decimal import Decimal, InvalidOperation

from quantguard.errors import DataError
from quantguard.records import Generation, Sample, Score
from quantguard.scorers._reasoning import after_thinking

VERSION = "boxed/1"
_BOX = "\\boxed{"


def score(sample: Sample, generation: Generation) -> Score:
    """Return 1.0 for the right answer and 0.0 for anything else; raise DataError for a sample without a target."""
    if sample.target is None:
        raise DataError(f"sample {sample.id} has no target to score against")
    answer = None
    if generation.finish_reason == "length":
        value, rule = 0.0, "truncated"
    else:
        answer = last_boxed(after_thinking(generation.text))
        value = float(answer is not None and same_answer(answer, sample.target))
        rule = "unparsed" if answer is None else "boxed"
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


def same_answer(answer: str, target: str) -> bool:
    """Tell whether two answers are the same number, or the same text where either is no number."""
    left, right = _number(answer), _number(target)
    if left is None or right is None:
        return answer.strip() == target.strip()
    return left == right


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text.replace(",", "").strip().strip("$").strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
