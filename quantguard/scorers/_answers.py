"""The scoring of answers against a target: all that such scorers share, apart from the comparison itself."""

import re
from collections.abc import Callable

from quantguard.errors import DataError
from quantguard.records import Generation, Sample, Score
from quantguard.scorers._reasoning_text import after_thinking

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
# The content of a box without braces, one character in TeX. TeX reads ``\boxed12`` as a box of 1, which its writer did
# not mean, so such a box is not read.
_SINGLE = re.compile(r"[0-9A-Za-z](?![0-9A-Za-z^_/!%\\]|[.,:][0-9])")
# A word after the macro: the text mentions a box and does not make one.
_MENTION = re.compile(r"(?<=\s)[A-Za-z]{2,}|[.,;:!?`'\")]|$")


# The answer that was found, its value, and the rule that decided.
Judgement = tuple[str | None, float, str]


def score_boxed(sample: Sample, generation: Generation, compare: Callable[[str, str], tuple[float, str]]) -> Score:
    """Score the last box after the thinking; ``compare(answer, target)`` returns a value and the rule that decided.

    An answer whose last box is missing, empty or unclosed is wrong by the rule ``unparsed``. For the rest see
    :func:`score_answer`.
    """

    def judge(text: str, target: str) -> Judgement:
        answer = last_boxed(text)
        value, rule = (0.0, "unparsed") if not answer else compare(answer, target)
        return answer, value, rule

    return score_answer(sample, generation, judge)


def score_answer(sample: Sample, generation: Generation, judge: Callable[[str, str], Judgement]) -> Score:
    """Score the text after the thinking by ``judge(text, target)``.

    An answer that was cut off at the token limit is wrong by the rule ``truncated``, whatever it says. Raises DataError
    for a sample without a target.
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
    r"""Tell whether a text makes a box, closed or not; a mention of ``\boxed`` is not a box."""
    return any(not _MENTION.match(text, match.end()) for match in _BOX.finditer(text))


def last_boxed(text: str) -> str | None:
    r"""Return the content of the last ``\boxed{...}`` or ``\fbox{...}``, or None if it is missing or not closed.

    White space may precede the brace, escaped braces close nothing, and a single character needs no braces. If the last
    box cannot be read, no earlier one counts, since the last one replaced it. A box within another is a part of it.
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
    """Map each opening brace to its closing one; a brace after a backslash is text."""
    open_braces: list[int] = []
    ends = {}
    for match in re.finditer(r"\\.|[{}]", text, flags=re.DOTALL):
        if match[0] == "{":
            open_braces.append(match.start())
        elif match[0] == "}" and open_braces:
            ends[open_braces.pop()] = match.start()
    return ends


def _content(text: str, brace: int, ends: dict[int, int]) -> str:
    r"""Return the content of a box; if all of it is one inner box, return the content of that one."""
    while True:
        inner = text[brace + 1 : ends[brace]]
        box = _BOX.match(text, brace + 1 + len(inner) - len(inner.lstrip()))
        if box is None or box.end() not in ends or text[ends[box.end()] + 1 : ends[brace]].strip():
            return inner.strip()
        brace = box.end()
