"""The number that a text ends in, what stands behind a ``####``, and where another question begins."""

# ruff: noqa: RUF001 - the signs of typesetting are what it reads

import re
from fractions import Fraction

from quantguard.scorers._numerals import number, plain
from quantguard.scorers._units import is_short_unit

# The end of a turn, or a line by which a text goes on with one of somebody else.
_NEXT_TURN = re.compile(
    r"^[ \t>*_#]*(?:Question|Q|Human|User)[ \t]*[0-9]*[ \t*_]*[:：]|</s>|<\|(?:im_end|im_start|endoftext|eot_id)\|>",
    re.MULTILINE | re.IGNORECASE,
)
_LONGEST_WORD = 1000
# What sets mathematics apart, and the calculations of GSM8K, such as <<9*2=18>>18.
_MARKS = re.compile(r"<<[^<>\n]*>>|\\[()\[\]]|\$\$")
_RANGE = re.compile(r"[0-9.,]+\s*[-–—]\s*[0-9.,]+[^=]*")
_MARK = re.compile(r"####(?!#)[ \t]*((?:(?!####)[^\n])*)")
# What stands behind #### as an answer begins with a number; a heading ("#### Step 2", "#### 2. Add") does not.
_MARKED_ANSWER = re.compile(r"(?:answer(?: is)?\s*[:=]?\s*)?[-+\u2212($\\€£¥*.=\s]*(?:[0-9]|\\[a-z])", re.IGNORECASE)
_NUMBERED_HEADING = re.compile(r"[0-9]+[.):]\s*[*_]*[A-Za-z]|step\b", re.IGNORECASE)
# Scripts without spaces, apart from the characters that belong to a numeral, such as 万, ten thousand.
_IDEOGRAPHS = re.compile(r"[\u3001-\u303f\u3040-\u30ff\u3400-\u9fff\uff00-\uffef]", flags=re.ASCII)
_NUMERAL_IDEOGRAPHS = frozenset("〇零一二三四五六七八九十百千万億亿兆半折成倍第分之點点負负")
_AROUND = "([{<\"'`*_~“”‘’"
_BEHIND = ")]}>\"'`*_~“”‘’.,;:!?…"
_QUOTES, _PAUSES = ")]}\"'`*_~”’", (".", ",", ";", ":", "!", "?")
# What a number is set equal to or called, without a space between.
_LABEL = re.compile(r".*=|[A-Za-z]+:")
# A decimal that goes on where it ends.
_CUT = re.compile(r"\.[0-9]+(?:\.\.|…)")
_WORD_BEHIND = re.compile(r"(.*[0-9.])(-(?=[A-Za-z])|/(?=[A-Za-z]{2}))?((?:[A-Za-z]|°)[A-Za-z°/'-]*|%|\\%)")
# Joins two numbers to something that is neither of them.
_JOINED = re.compile(
    r"[0-9][ \t]+$|[0-9%)}](?:\s+:\s+|\s*(?:[-+*/×÷·^x–—−,;&~±]|\\times|\\cdot|\\div|\\pm|\*\*)\s*"
    r"|\s+(?:or|and|to|of|out of|by|times|plus|minus|over|x|per)\s+)$"
)
# A greater and a smaller unit, whose numbers are one quantity: 2 hours (and) 30 minutes.
_COMPOUND = re.compile(
    r"[0-9] *(?:hours?|hrs?|minutes?|mins?|days?|weeks?|years?|feet|foot|ft|yards?|dollars?|pounds?|lbs?)(?: and)?\s+$"
)
_SMALLER_UNIT = re.compile(
    r"\s*(?:minutes?|mins?|seconds?|secs?|hours?|days?|months?|inch(?:es)?|in|cents?|ounces?|oz)\b"
)
_CHANGED = re.compile(
    r"\b(?:not|minus|negative|half|third|quarter|twice|double|triple|thrice"
    r"|(?:more|less|fewer|greater|larger|smaller) than"
    r"|root of|half of|third of|quarter of|logarithm of|log of|power of|percent of)\s*$|\\[a-z]+\s*$|[√±^]\s*$",
    re.IGNORECASE,
)
_GOES_ON = re.compile(
    r"\s*(?:(?:hundreds?|thousands?|million|billion|trillion|dozen|halves|thirds|fourths|fifths|sixths|sevenths|eighths"
    r"|ninths|tenths|hundredths|squared|cubed|factorial|to the power)\b|and (?:a|one|two|three) [a-z]+|and a half"
    r"|(?:\\(?:times|cdot|div|pi|sqrt|frac)|[×÷*/^+=π√])|-\s*[0-9])",
    re.IGNORECASE,
)


def before_next_question(text: str) -> str:
    """Return a text up to its end or a line that begins another question, unless nothing precedes that."""
    for match in _NEXT_TURN.finditer(text):
        if text[: match.start()].strip():
            return text[: match.start()]
    return text


def last_mark(text: str) -> str | None:
    """Return what stands behind the last ``####`` that marks an answer and is no heading, or None."""
    marked = [match[1].strip() for match in _MARK.finditer(text)]
    answers = [mark for mark in marked if _MARKED_ANSWER.match(plain(mark)) and not _NUMBERED_HEADING.match(mark)]
    if not answers:
        return None
    return re.sub(r"^answer(?: is)?\s*[:=]?\s*", "", answers[-1].strip("*_ \t"), flags=re.IGNORECASE)


def is_range(text: str) -> bool:
    """Tell whether a text is two numbers with a dash between, which is a range for its reader and not a difference."""
    return _RANGE.fullmatch(text) is not None


def last_number(text: str) -> tuple[str | None, Fraction | None]:
    """Return the last number of a text as it is spelt, and its value; both are None where that is not one number.

    What looks like a number and is none, such as a date, never gives way to a number before it.
    """
    spaced = _IDEOGRAPHS.sub(_apart, _MARKS.sub(" ", plain(text)))
    words = [match for match in re.finditer(r"\S+", spaced) if _counts(match[0])]
    if not words:
        return None, None
    last = words[-1]
    before, word, behind = spaced[: last.start()], last[0], spaced[last.end() :]
    if len(word) > _LONGEST_WORD:
        return None, None
    bare = _LABEL.sub("", word).lstrip(_AROUND)
    before += word[: len(word) - len(bare)]
    spelling = _without_word(_without_dollars(bare.rstrip(_BEHIND)))
    value = number(spelling)
    goes_on = not bare.rstrip(_QUOTES).endswith(_PAUSES) and _GOES_ON.match(behind)
    goes_on = goes_on or (_COMPOUND.search(before[-40:]) and _SMALLER_UNIT.match(behind)) or _CUT.search(bare)
    return (None, None) if value is None or goes_on or _is_joined(before) else (spelling, value)


def _apart(match: re.Match[str]) -> str:
    return match[0] if match[0] in _NUMERAL_IDEOGRAPHS else " "


def _counts(word: str) -> bool:
    """Tell whether a word has a digit, or the like of ½, that does not belong to a name such as H2O or x7."""
    first = next((place for place, sign in enumerate(word) if sign.isdigit() or _is_fraction(sign)), None)
    if first is None:
        return False
    before = word[first - 1] if first else ""
    return not (before.isascii() and before.isalpha() and "\\" not in word)


def _is_fraction(sign: str) -> bool:
    return "\u00bc" <= sign <= "\u00be" or "\u2150" <= sign <= "\u215f"


def _without_word(word: str) -> str:
    """Return a word without the unit behind its number, as in 7kg, 24-hour, 12% or 70/quiz."""
    match = _WORD_BEHIND.fullmatch(word)
    if match is None:
        return word
    numeral, mark, unit = match.groups()
    return numeral if mark or unit in {"%", "\\%"} or is_short_unit(unit) else word


def _without_dollars(word: str) -> str:
    """Return a word without the dollars of math mode; a single one in front is money."""
    return word.strip("$") if word.endswith("$") and not word.endswith("\\$") else word


def _is_joined(before: str) -> bool:
    """Tell whether what precedes a number makes it a part of something else."""
    line = before.rpartition("\n")[2]
    if re.fullmatch(r"\s*[-*+•–]\s+", line):
        # The mark of a list's item.
        return False
    tail = before[-200:].rstrip(_AROUND + "$")
    return bool(_JOINED.search(tail) or _CHANGED.search(tail))
