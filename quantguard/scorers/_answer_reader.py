"""The reader of mathematical answers: it reads the whole of an answer without a guess, or nothing."""

# ruff: noqa: RUF001 - the signs of typesetting are what it reads

import functools
import itertools
import re
from collections.abc import Sequence
from fractions import Fraction

from quantguard.scorers._answer_types import Answer, Dots, Named, Ordered, Quantity, Unordered, Words
from quantguard.scorers._brackets import partner, split, unwrapped
from quantguard.scorers._numerals import plain
from quantguard.scorers._parser import parse
from quantguard.scorers._quantities import numeral_to_base, quantity
from quantguard.scorers._relations import is_name, related
from quantguard.scorers._tokens import Token, Unreadable, tokens
from quantguard.scorers._values import exact_value

_LONGEST_LIST, _MOST_SIGNS = 60, 4
_CLOSING = {"(": {")", "]"}, "[": {")", "]"}, r"\{": {r"\}"}, r"\langle": {r"\rangle"}}
_RELATIONS = {
    ("sign", "="): "=", ("sign", "<"): "<", ("sign", ">"): ">", ("command", r"\le"): "<=", ("command", r"\ge"): ">=",
    ("command", r"\ne"): "!=", ("command", r"\in"): "in",
}  # fmt: skip
_DOTS = Token("command", r"\ldots")
_COMMA, _ANDOR = {",", ";"}, {"and", "or"}
_TEXT = re.compile(r"\\(?:text(?:bf|it|rm|normal|sf|tt)?|mbox|hbox|mathrm|mathbf|operatorname)\s*\{([^{}]*)\}")
_PROSE = re.compile(r"[\w\s'’\"“”(),.;:!?/&-]*", flags=re.ASCII)


@functools.lru_cache(maxsize=4096)
def read(text: str) -> Answer | None:
    """Read an answer without its box; None if it cannot be read without a guess."""
    try:
        return _answer(tokens(_without_box(text)))
    except (Unreadable, RecursionError):
        return _words(text)


def numeric_value(text: str) -> Fraction | None:
    """Return an answer's rational number, without unit and name; None if the answer is anything else."""
    answer = read(text)
    answer = answer.answer if isinstance(answer, Named) else answer
    try:
        return exact_value(answer.expression) if isinstance(answer, Quantity) else None
    except Unreadable:
        return None


def _without_box(text: str) -> str:
    return re.sub(r"\\(?:boxed|fbox)\s*\{", "{", text)


def _words(text: str) -> Words | None:
    """Read a text that has a word in it and no mathematics; None for any other text."""
    bare = re.sub(r"\\[ ,;:!]|\\q?quad|~|\$", " ", _TEXT.sub(r" \1 ", plain(text)))
    bare = re.sub(r"\b([aApP])\.\s*([mM])\.", r"\1\2", bare)
    bare = " ".join(re.sub("['’\"“”]", "'", bare).split())
    bare = re.sub(r"\s+([,.;:!?)])", r"\1", re.sub(r"\(\s+", "(", bare)).rstrip(".").strip().strip("'")
    letters = re.findall("[A-Za-z]{2,}", bare)
    if not letters or not _PROSE.fullmatch(bare):
        return None
    return Words(bare.casefold())


def _answer(found: Sequence[Token]) -> Answer:
    found = unwrapped(found)
    parts, separators = split(found, lambda token: token.kind == "separator")
    if len(parts) > 1:
        return _list(parts, separators)
    return _item(found)


def _list(parts: list[Sequence[Token]], separators: list[Token]) -> Answer:
    signs = [separator.text for separator in separators]
    if len(parts) > _LONGEST_LIST:
        raise Unreadable("a long list")
    # In "1, 2, and 3" the comma and the word are one separator.
    for position in range(len(parts) - 2, 0, -1):
        if not parts[position] and signs[position - 1] in _COMMA and signs[position] in _ANDOR:
            del parts[position], signs[position - 1]
    if any(part == [_DOTS] or (len(part) == 1 and part[0] == _DOTS) for part in parts):
        return Ordered("", "", tuple(_part(part) for part in parts))
    answers = [answer for part in parts for answer in _alternatives(part)]
    if set(signs) == {"or"} and all(_is_interval(answer) for answer in answers):
        return _united(answers)
    if any(map(_is_interval, answers)) and "or" in signs:
        raise Unreadable("conditions that are not alternatives alone")
    return Unordered("list", tuple(answers))


def _part(part: Sequence[Token]) -> Answer:
    if len(part) == 1 and part[0] == _DOTS:
        return Dots(r"\ldots")
    return _item(part)


def _is_interval(answer: Answer) -> bool:
    return isinstance(answer, Named) and isinstance(answer.answer, (Ordered, Unordered))


def _united(answers: Sequence[Answer]) -> Answer:
    names = {answer.name for answer in answers if isinstance(answer, Named)}
    if len(names) != 1:
        raise Unreadable("conditions for several unknowns")
    return Named(
        names.pop(), Unordered("union", tuple(answer.answer for answer in answers if isinstance(answer, Named)))
    )


def _alternatives(found: Sequence[Token]) -> list[Answer]:
    r"""Return the answers in a part of a list: several if it has \pm."""
    places = [place for place, token in enumerate(found) if token.text in {r"\pm", r"\mp"} and token.kind == "command"]
    if not places:
        return [_item(found)]
    if len(places) > _MOST_SIGNS:
        raise Unreadable("many signs that are both")
    coupled = any(found[place].text == r"\mp" for place in places)
    choices = (
        [(1,) * len(places), (-1,) * len(places)] if coupled else [*itertools.product((1, -1), repeat=len(places))]
    )
    return [_item(_chosen(found, dict(zip(places, choice, strict=True)))) for choice in choices]


def _chosen(found: Sequence[Token], signs: dict[int, int]) -> list[Token]:
    chosen = []
    for place, token in enumerate(found):
        if place not in signs:
            chosen.append(token)
            continue
        plus = (signs[place] == 1) == (token.text == r"\pm")
        starts = not chosen or chosen[-1].kind in {"open", "separator"} or chosen[-1].text in {"=", "{"}
        if not (plus and starts):
            chosen.append(Token("sign", "+" if plus else "-"))
    return chosen


def _item(found: Sequence[Token]) -> Answer:
    bare = unwrapped(found)
    if len(bare) < len(found):
        return _answer(bare)
    if not found:
        raise Unreadable("nothing")
    sides, signs = split(found, lambda token: (token.kind, token.text) in _RELATIONS)
    if signs:
        return related(sides, [_RELATIONS[sign.kind, sign.text] for sign in signs], _item)
    if any(token.text in {r"\pm", r"\mp"} and token.kind == "command" for token in found) and found[0].text != r"\{":
        alternatives = _alternatives(found)
        return Unordered("list", tuple(alternatives))
    parts, _ = split(found, lambda token: token == Token("command", r"\cup"))
    if len(parts) > 1:
        return Unordered("union", tuple(map(_set_part, parts)))
    ratio, _ = split(found, lambda token: token == Token("sign", ":"))
    if len(ratio) > 1:
        return Ordered(":", ":", tuple(Quantity(parse(part), "") for part in ratio))
    return _bracketed(found) or numeral_to_base(found) or quantity(found)


def _set_part(part: Sequence[Token]) -> Answer:
    answer = _item(part)
    if isinstance(answer, (Ordered, Unordered)) or (isinstance(answer, Quantity) and is_name(answer.expression)):
        return answer
    raise Unreadable("a union of what is no set")


def _bracketed(found: Sequence[Token]) -> Answer | None:
    opens = found[0]
    if opens.kind != "open" or partner(found, 0) != len(found) - 1:
        return None
    closes, inner = found[-1], found[1:-1]
    if closes.text not in _CLOSING[opens.text]:
        raise Unreadable(f"the brackets {opens.text} and {closes.text}")
    if opens.text == r"\{":
        return _set(inner)
    parts, separators = split(inner, lambda token: token.kind == "separator")
    if any(separator.text in _ANDOR for separator in separators):
        raise Unreadable("a word between brackets")
    if len(parts) == 1 and (opens.text, closes.text) == ("(", ")"):
        # These brackets only group, as in (B) or (x+1).
        return _item(inner)
    if len(parts) == 1 and opens.text != "[":
        raise Unreadable(f"the brackets {opens.text} around one value")
    return Ordered(opens.text, closes.text, tuple(_part(part) for part in parts))


def _set(inner: Sequence[Token]) -> Answer:
    if not inner:
        return Unordered("set", ())
    parts, _ = split(inner, lambda token: token.kind == "separator")
    if any(token.text in {r"\mid", ":", "|"} for token in inner):
        raise Unreadable("a set by a condition")
    if any(len(part) == 1 and part[0] == _DOTS for part in parts):
        return Ordered(r"\{", r"\}", tuple(_part(part) for part in parts))
    return Unordered("set", tuple(answer for part in parts for answer in _alternatives(part)))
