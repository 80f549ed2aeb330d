"""Scoring an answer by comparing it with a target: what every such scorer does around its comparison."""

import re
from collections.abc import Callable

from quantguard.errors import DataError
from quantguard.records import Generation, Sample, Score
from quantguard.scorers._reasoning_text import after_thinking

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
# What a box without braces holds in TeX; ``\boxed12`` holds 1, which its writer did not mean, and is not read.
_SINGLE = re.compile(r"[0-9A-Za-z](?![0-9A-Za-z^_/!%\\]|[.,:][0-9])")
# A word behind the macro: the text speaks of a box and makes none.
_MENTION = re.compile(r"(?<=\s)[A-Za-z]{2,}|[.,;:!?`'\")]|$")


# What was taken for the answer, its value, and the rule that decided.
Judgement = tuple[str | None, float, str]


def score_boxed(sample: Sample, generation: Generation, compare: Callable[[str, str], tuple[float, str]]) -> Score:
    """Score the last box behind the thinking; ``compare(answer, target)`` gives a value and the rule that decided.

    An answer whose last box is missing, empty or unclosed is wrong by the rule ``unparsed``; see :func:`score_answer`
    for the rest.
    """

    def judge(text: str, target: str) -> Judgement:
        answer = last_boxed(text)
        value, rule = (0.0, "unparsed") if not answer else compare(answer, target)
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


def has_box(text: str) -> bool:
    r"""Tell whether a text makes a box, closed or not; one that only speaks of ``\boxed`` does not."""
    return any(not _MENTION.match(text, match.end()) for match in _BOX.finditer(text))


def last_boxed(text: str) -> str | None:
    r"""Return the content of the last ``\boxed{...}`` or ``\fbox{...}``, or None where it is missing or not closed.

    White space may precede the brace, escaped braces close nothing, and a single character needs no braces. A last box
    that cannot be read never gives way to an earlier one, which it took back. A box within another is a part of it.
    """
    starts = [match for match in _BOX.finditer(text) if not _MENTION.match(text, match.end())]
    if not starts:
        return None
    last = starts[-1]
    ends = _closing_braces(text)
    if text.startswith("{", last.end()) and last.end() not in ends:
        return None
    around = [box.end() for box in starts if ends.get(box.end(), -1) > last.end()]
    if around:
        return _content(text, around[0], ends)
    single = _SINGLE.match(text, last.end())
    return None if single is None else single[0]


def _closing_braces(text: str) -> dict[int, int]:
    """Map every opening brace to the one that closes it; a brace behind a backslash is text."""
    open_braces: list[int] = []
    ends = {}
    for match in re.finditer(r"\\.|[{}]", text, flags=re.DOTALL):
        if match[0] == "{":
            open_braces.append(match.start())
        elif match[0] == "}" and open_braces:
            ends[open_braces.pop()] = match.start()
    return ends


def _content(text: str, brace: int, ends: dict[int, int]) -> str:
    r"""Return what a box holds, without a second box around the whole of it."""
    while True:
        inner = text[brace + 1 : ends[brace]]
        box = _BOX.match(text, brace + 1 + len(inner) - len(inner.lstrip()))
        if box is None or box.end() not in ends or text[ends[box.end()] + 1 : ends[brace]].strip():
            return inner.strip()
        brace = box.end()
