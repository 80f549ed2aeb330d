r"""Score the number that an answer ends in, for prompts that ask for no box.

Rules, kept in ``Score.explanation``: ``marked``, what stands behind the last ``####``; ``boxed``, what the last box
holds; ``last-number``, the last number of the text; ``unparsed`` where that is not one plain number; and ``truncated``
as in :mod:`quantguard.scorers.boxed`. The first of the three that is there decides, whether it can be read or not.
Nothing counts behind a further ``Question:``, which starts a turn that is not the model's.

``1,234`` and ``1234.00`` are one number, and a unit behind one is none of it. A list, a range, a choice (``5 or 6``),
a time, a date, a sum or power is not the number at its end; a mark or box may hold mathematics, such as a fraction,
which counts by its value.
"""

from fractions import Fraction

from quantguard.errors import DataError
from quantguard.records import Generation, Sample, Score
from quantguard.scorers._answer_reader import numeric_value
from quantguard.scorers._answers import has_box, last_boxed, score_answer
from quantguard.scorers._known_answers import KnownAnswer
from quantguard.scorers._running_text import before_next_question, is_range, last_mark, last_number

VERSION = "numbers/2"
KNOWN_ANSWERS = (
    KnownAnswer("12 and 15 make 27.", "27", 1.0),
    KnownAnswer("27 less 15 makes 12.", "27", 0.0),
    KnownAnswer("#### 27\nas 12 and 15 are", "27", 1.0),
    KnownAnswer("#### 27\n\nQuestion: 1 and 2?\n#### 3", "27", 1.0),
    KnownAnswer("\\boxed{27} and not 12", "27", 1.0),
    KnownAnswer("\\boxed{\\frac{1}{27}}", "27", 0.0),
    KnownAnswer("\\boxed{27}, no: \\boxed{26", "27", 0.0),
    KnownAnswer("it is 26 or 27", "27", 0.0),
    KnownAnswer("<think>it is 27 </think>it is clear", "27", 0.0),
    KnownAnswer("it is -8", "-8", 1.0),
    KnownAnswer("it is 8", "-8", 0.0),
    KnownAnswer("it is -$8", "-8", 1.0),
    KnownAnswer("it is $1,234.00", "1234", 1.0),
    KnownAnswer("it is 12,34", "1234", 0.0),
    KnownAnswer("on 3/4", "4", 0.0),
    KnownAnswer("", "4", 0.0),
)


def score(sample: Sample, generation: Generation) -> Score:
    """Return 1.0 for the right number and 0.0 for any other; raise DataError for a target that is no number."""
    return score_answer(sample, generation, _judge)


def _judge(text: str, target: str) -> tuple[str | None, float, str]:
    wanted = numeric_value(target.rpartition("####")[2])
    if wanted is None:
        raise DataError(f"the target {target!r} is no number, and the scorer numbers compares numbers")
    answer, found, rule = _found(before_next_question(text))
    if answer is None or found is None:
        return None, 0.0, "unparsed"
    return answer, float(found == wanted), rule


def _found(text: str) -> tuple[str | None, Fraction | None, str]:
    """Return what was taken for the answer, its value, and the rule by which it was found."""
    mark = last_mark(text)
    if mark is not None:
        return mark, _value(mark), "marked"
    if has_box(text):
        box = last_boxed(text)
        return box, None if box is None else _value(box), "boxed"
    return *last_number(text), "last-number"


def _value(place: str) -> Fraction | None:
    return None if is_range(place) else numeric_value(place)
