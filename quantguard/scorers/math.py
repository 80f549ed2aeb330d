r"""Score the last ``\boxed{}`` that follows the thinking part: the same number or text, else the same mathematics.

Rules, kept in ``Score.explanation``: ``exact``, the same number or text; ``math-verify``, what math-verify 0.9.0 says
in a process of its own; ``timeout``, where it gave no answer and was killed, scored as wrong; ``unparsed`` and
``truncated`` as in :mod:`quantguard.scorers.boxed`. Refused before math-verify is asked are what it takes for equal
though it is not: brackets of another kind, such as a set for a point, and numbers to another base.
"""

import re

from quantguard.records import Generation, Sample, Score
from quantguard.scorers._answers import score_boxed
from quantguard.scorers._known_answers import KnownAnswer
from quantguard.scorers._verifying import MATH_VERIFY, same_mathematics
from quantguard.scorers.boxed import same_answer

VERSION = f"math/1 math-verify/{MATH_VERIFY}"
# None of them is for math-verify, which has to prove itself when it starts.
KNOWN_ANSWERS = (
    KnownAnswer("\\boxed{3}, no: \\boxed{4}", "4", 1.0),
    KnownAnswer("<think>\\boxed{4}</think>it is clear", "4", 0.0),
    KnownAnswer("\\boxed{-8}", "-8", 1.0),
    KnownAnswer("\\boxed{1,234.50}", "1234.5", 1.0),
    KnownAnswer("\\boxed{[1, 2]}", "(1, 2)", 0.0),
    KnownAnswer("\\boxed{101_2}", "101_3", 0.0),
    KnownAnswer("", "4", 0.0),
)
_SPACING = re.compile(r"\\left|\\right|\\[,;!]|\s")
_BRACKETS = re.compile(r"(\(|\[|\\\{).*(\)|\]|\\\})", flags=re.DOTALL)
_BASE = re.compile(r"\d_\{?(\d+)\}?$")


def score(sample: Sample, generation: Generation) -> Score:
    """Return 1.0 for the right answer and 0.0 for anything else; raise DataError for a sample without a target."""
    return score_boxed(sample, generation, compare)


def compare(answer: str, target: str) -> tuple[float, str]:
    """Return 1.0 or 0.0 for an answer without its box, and the rule that decided."""
    if same_answer(answer, target):
        return 1.0, "exact"
    if _differs_in_form(answer, target):
        return 0.0, "exact"
    equal = same_mathematics(answer, target)
    return (0.0, "timeout") if equal is None else (float(equal), "math-verify")


def _differs_in_form(answer: str, target: str) -> bool:
    left, right = (_SPACING.sub("", text).strip("$") for text in (answer, target))
    brackets = [match.groups() for text in (left, right) if (match := _BRACKETS.fullmatch(text))]
    bases = [match[1] for text in (left, right) if (match := _BASE.search(text))]
    return len(set(brackets)) == 2 or len(set(bases)) == 2
