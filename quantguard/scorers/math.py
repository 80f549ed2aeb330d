r"""Score the last ``\boxed{}`` that follows the thinking part: the same text, else the same mathematics.

Rules, kept in ``Score.explanation``: ``exact``, the same text; ``mathematics``, what both sides are read as;
``unparsed``, where the last box is missing, empty or not closed, or what it holds cannot be read without a guess; and
``truncated`` as in :mod:`quantguard.scorers.boxed`. What is equal is said in :mod:`quantguard.scorers._equality`.
"""

import functools

from quantguard.errors import DataError
from quantguard.records import Generation, Sample, Score
from quantguard.scorers._answer_reader import read
from quantguard.scorers._answer_types import Answer, Words
from quantguard.scorers._answers import score_boxed
from quantguard.scorers._equality import require_value, same
from quantguard.scorers._known_answers import KnownAnswer
from quantguard.scorers._tokens import Unreadable

VERSION = "math/2"
KNOWN_ANSWERS = (
    KnownAnswer("\\boxed{3}, no: \\boxed{4}", "4", 1.0),
    KnownAnswer("\\boxed{4}, no: \\boxed {3}", "4", 0.0),
    KnownAnswer("\\boxed{4}, no: \\boxed{3", "4", 0.0),
    KnownAnswer("<think>\\boxed{4}</think>it is clear", "4", 0.0),
    KnownAnswer("\\boxed{-8}", "-8", 1.0),
    KnownAnswer("\\boxed{1,234.50}", "1234.5", 1.0),
    KnownAnswer("\\boxed{\\frac{1}{2}}", "0.5", 1.0),
    KnownAnswer("\\boxed{2\\sqrt{3}}", "\\sqrt{12}", 1.0),
    KnownAnswer("\\boxed{(x+1)^2}", "x^2+2x+1", 1.0),
    KnownAnswer("\\boxed{(x+1)^2}", "x^2+1", 0.0),
    KnownAnswer("\\boxed{\\frac{1}{2006!}}", "\\frac{1}{2004!}", 0.0),
    KnownAnswer("\\boxed{[1, 2]}", "(1, 2)", 0.0),
    KnownAnswer("\\boxed{101_2}", "101_3", 0.0),
    KnownAnswer("", "4", 0.0),
)


def score(sample: Sample, generation: Generation) -> Score:
    """Return 1.0 for the right answer and 0.0 for anything else.

    Raises DataError for a sample without a target, or whose target cannot be read.
    """
    return score_boxed(sample, generation, compare)


def compare(answer: str, target: str) -> tuple[float, str]:
    """Return 1.0 or 0.0 for an answer without its box, and the rule that decided; raise DataError for a bad target."""
    wanted = _wanted(target)
    if answer.strip() == target.strip():
        return 1.0, "exact"
    found = read(answer)
    if found is None or (isinstance(found, Words) and found.has_digits and not isinstance(wanted, Words)):
        return 0.0, "unparsed"
    try:
        return float(same(found, wanted)), "mathematics"
    except Unreadable:
        return 0.0, "unparsed"


@functools.lru_cache(maxsize=4096)
def _wanted(target: str) -> Answer:
    wanted = read(target)
    try:
        if wanted is not None:
            require_value(wanted)
            return wanted
    except Unreadable:
        pass
    raise DataError(f"the target {target!r} cannot be read as mathematics, so no answer can be compared with it")
