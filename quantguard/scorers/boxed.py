r"""Score the last ``\boxed{}`` that follows the thinking part, compared as a number where both sides are one.

The rule that fired is in ``Score.explanation``: ``boxed``, ``unparsed`` (no box after the thinking) or ``truncated``
(the limit came first: scored as wrong, and counted, since the judgement refuses to compare runs that truncate
differently).
"""

from decimal import Decimal, InvalidOperation

from quantguard.records import Generation, Sample, Score
from quantguard.scorers._answers import score_boxed

VERSION = "boxed/1"


def score(sample: Sample, generation: Generation) -> Score:
    """Return 1.0 for the right answer and 0.0 for anything else; raise DataError for a sample without a target."""
    return score_boxed(sample, generation, lambda answer, target: (float(same_answer(answer, target)), "boxed"))


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
