r"""Score the number that an answer ends in, for prompts that ask for no box.

Rules, kept in ``Score.explanation``: ``marked``, the number behind the last ``####`` on its line; ``boxed``, in the
last box; ``last-number``, the last number of the text; ``unparsed`` where there is none, and ``truncated`` as in
:mod:`quantguard.scorers.boxed`. The first that finds a number decides. ``1,234`` and ``1234.00`` are one number, and a
full stop behind one is none of it; a fraction, a date or a version is not read as the number at its end.
"""

import re
from collections.abc import Callable
from decimal import Decimal

from quantguard.errors import DataError
from quantguard.records import Generation, Sample, Score
from quantguard.scorers._answers import last_boxed, score_answer
from quantguard.scorers._known_answers import KnownAnswer

VERSION = "numbers/1"
KNOWN_ANSWERS = (
    KnownAnswer("12 and 15 make 27.", "27", 1.0),
    KnownAnswer("27 less 15 makes 12.", "27", 0.0),
    KnownAnswer("#### 27\nas 12 and 15 are", "27", 1.0),
    KnownAnswer("\\boxed{27} and not 12", "27", 1.0),
    KnownAnswer("<think>27</think>it is clear", "27", 0.0),
    KnownAnswer("it is -8", "-8", 1.0),
    KnownAnswer("it is 8", "-8", 0.0),
    KnownAnswer("it is $1,234.00", "1234", 1.0),
    KnownAnswer("on 3/4", "4", 0.0),
    KnownAnswer("", "4", 0.0),
)
# Whole, with thousands set apart or not, and decimals; not a part of a word, fraction, date, version or range.
_NUMBER = re.compile(r"(?<![\w./:,-])[-+\u2212]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w/:]|[.,-]\d)")
# The sign of typesetting, which models write too.
_MINUS = "\u2212"
_MARK = re.compile(r"####[ \t]*\$?([^\n]*)")


def score(sample: Sample, generation: Generation) -> Score:
    """Return 1.0 for the right number and 0.0 for any other; raise DataError for a target that is no number."""
    return score_answer(sample, generation, _judge)


def _judge(text: str, target: str) -> tuple[str | None, float, str]:
    wanted = _last_number(target)
    if wanted is None:
        raise DataError(f"the target {target!r} is no number, and the scorer numbers compares numbers")
    rules: dict[str, Callable[[str], str | None]] = {
        "marked": lambda answer: marks[-1] if (marks := _MARK.findall(answer)) else None,
        "boxed": last_boxed,
        "last-number": lambda answer: answer,
    }
    for rule, find in rules.items():
        place = find(text)
        found = None if place is None else _last_number(place)
        if found is not None:
            return found, float(_value(found) == _value(wanted)), rule
    return None, 0.0, "unparsed"


def _last_number(text: str) -> str | None:
    numbers = _NUMBER.findall(text)
    return numbers[-1] if numbers else None


def _value(number: str) -> Decimal:
    return Decimal(number.replace(",", "").replace(_MINUS, "-"))
