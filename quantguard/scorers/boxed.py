r"""Score the last ``\boxed{}`` that follows the thinking part, compared as a number where both sides are one.

The rule that fired is in ``Score.explanation``: ``boxed``; ``unparsed``, where the last box after the thinking is
missing, empty, not closed, or holds no number and a number was asked for; or ``truncated`` (the limit came first).
Both are scored as wrong, and counted, since the judgement refuses to compare runs that differ in them.
"""

from quantguard.records import Generation, Sample, Score
from quantguard.scorers._answers import score_boxed
from quantguard.scorers._known_answers import KnownAnswer
from quantguard.scorers._numerals import currency, number

VERSION = "boxed/2"
KNOWN_ANSWERS = (
    KnownAnswer("so it is 27: \\boxed{27}", "27", 1.0),
    KnownAnswer("\\boxed{28}", "27", 0.0),
    KnownAnswer("\\boxed{3}, no: \\boxed{4}", "4", 1.0),
    KnownAnswer("\\boxed{4}, no: \\boxed{3}", "4", 0.0),
    KnownAnswer("\\boxed{4}, no: \\boxed{3", "4", 0.0),
    KnownAnswer("<think>\\boxed{3}</think>\\boxed{4}", "4", 1.0),
    KnownAnswer("<think>\\boxed{4}</think>it is clear", "4", 0.0),
    KnownAnswer("\\boxed{-8}", "-8", 1.0),
    KnownAnswer("\\boxed{8}", "-8", 0.0),
    KnownAnswer("\\boxed{1,234.50}", "1234.5", 1.0),
    KnownAnswer("\\boxed{1}", "1,234", 0.0),
    KnownAnswer("\\boxed{12,5}", "125", 0.0),
    KnownAnswer("\\boxed{x_{1}}", "x_{1}", 1.0),
    KnownAnswer("\\boxed{X}", "x", 0.0),
    KnownAnswer("", "4", 0.0),
)


def score(sample: Sample, generation: Generation) -> Score:
    """Return 1.0 for the right answer and 0.0 for anything else; raise DataError for a sample without a target."""
    return score_boxed(sample, generation, _compare)


def same_answer(answer: str, target: str) -> bool:
    """Tell whether two answers are the same number, or the same text where either is no number."""
    left, right = number(answer), number(target)
    if left is None or right is None:
        return answer.strip() == target.strip()
    return left == right and len({currency(answer), currency(target)} - {""}) < 2


def _compare(answer: str, target: str) -> tuple[float, str]:
    if same_answer(answer, target):
        return 1.0, "boxed"
    unreadable = number(target) is not None and number(answer) is None
    return 0.0, "unparsed" if unreadable else "boxed"
