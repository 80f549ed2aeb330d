"""What is counted: units behind a number, in one spelling each, and number words such as million."""

import re
from collections.abc import Sequence

from quantguard.scorers._tokens import Token, Unreadable

PERCENT = "percent"
# A unit that names nothing, as in "square units": the same as any other.
UNKNOWN_UNIT = "unit"
_FACTORS = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
}  # fmt: skip
_SPELLINGS = {
    "cm": "centimeter centimetre centimeters centimetres cms",
    "mm": "millimeter millimetre millimeters millimetres",
    "m": "meter metre meters metres",
    "km": "kilometer kilometre kilometers kilometres kms",
    "in": "inch inches",
    "ft": "foot feet",
    "yd": "yard yards",
    "mi": "mile miles",
    "s": "second seconds sec secs",
    "min": "minute minutes mins",
    "hr": "hour hours hrs h",
    "day": "days",
    "g": "gram grams",
    "kg": "kilogram kilograms kgs",
    "lb": "pound pounds lbs",
    "oz": "ounce ounces",
    "degree": "degrees deg",
    "radian": "radians rad",
    "percent": "percents pct",
    "$": "dollar dollars usd",
    "€": "euro euros eur",
    "cent": "cents",
    "unit": "units",
    "mi / hr": "mph",
    "km / hr": "kmh kph",
}
_CANONICAL = {word: unit for unit, words in _SPELLINGS.items() for word in (unit, *words.split())}
# Words that say something else about a number than what is counted.
_NO_UNITS = frozenset(
    "or not no to through mod modulo base factorial half halves third thirds fourth fourths fifth fifths sixth sixths"  # noqa: SIM905
    " seventh sevenths eighth eighths ninth ninths tenth tenths hundredth hundredths thousandth thousandths over plus"
    " minus times more less fewer than least most about approximately almost nearly remainder if when where is are for"
    " but except undefined infinity infinite negative root power divided one two three four five six seven eight nine"
    " ten eleven twelve twenty thirty forty fifty sixty seventy eighty ninety zero with from until between versus vs"
    " hundreds thousands millions billions trillions dozens score gross"
    " tens teens lakh lakhs crore crores mil bn pi th st nd rd k e i".split()
)
_POWERS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cubed": 3, "cu": 3}
_GLUED = frozenset(
    "cm mm km m kg g mg lb lbs oz ml L l ft in yd mi mph kmh km/h m/s h hr hrs min mins s sec secs am pm AM PM USD"  # noqa: SIM905
    " °C °F ° C F cents dollars percent".split()
)
_WITHIN = {("sign", "/"), ("sign", "^"), ("sign", "*"), ("brace", "{"), ("brace", "}"), ("sign", "-"), ("sign", ".")}


def unit_of(found: Sequence[Token]) -> tuple[Sequence[Token], str, int]:
    """Return tokens without the unit at their end, the unit, and the factor that a number word is.

    Raises Unreadable where words stand behind a value and are no unit.
    """
    if len(found) > 1 and found[-1] == Token("command", r"\%"):
        return found[:-1], PERCENT, 1
    if (without := _without_circle(found)) is not None:
        return without, "degree", 1
    start = _first_word(found)
    if start is None:
        return found, "", 1
    head, tail = found[:start], found[start:]
    factor = 1
    while tail and tail[0].kind == "word" and tail[0].text.lower() in _FACTORS:
        factor *= _FACTORS[tail[0].text.lower()]
        tail = tail[1:]
    if head[-1] == Token("command", r"\%") and len(head) > 1:
        return head[:-1], PERCENT, factor
    degrees = _without_circle(head)
    unit = _unit(tail) if tail else ""
    if degrees is not None:
        return degrees, f"degree {unit}".strip(), factor
    return head, unit, factor


def _without_circle(found: Sequence[Token]) -> Sequence[Token] | None:
    """Return a single term without the circle of degrees at its end, or None."""
    texts = [token.text for token in found]
    if texts[-4:] == ["^", "{", r"\circ", "}"]:
        head = found[:-4]
    elif texts[-2:] == ["^", r"\circ"]:
        head = found[:-2]
    elif texts[-1:] == [r"\circ"]:
        head = found[:-1]
    else:
        return None
    signs = [place for place, token in enumerate(head) if token.kind == "sign" and token.text in {"+", "-"}]
    is_term = all(place == 0 or head[place - 1].text in {"{", "("} for place in signs)
    return (
        head
        if head and is_term and not any(token.text.startswith("\\") and _applies(token) for token in head)
        else None
    )


def _applies(token: Token) -> bool:
    return token.kind == "command" and token.text not in {r"\frac", r"\sqrt", r"\pi", r"\theta", r"\alpha", r"\beta"}


def _first_word(found: Sequence[Token]) -> int | None:
    depth = 0
    for place, token in enumerate(found):
        depth += (token.kind == "open" or token.text == "{") - (token.kind == "close" or token.text == "}")
        if token.kind == "word" and depth == 0 and place > 0:
            return place
    return None


def _unit(tail: Sequence[Token]) -> str:
    power = 1
    words: list[str] = []
    place = 0
    while place < len(tail):
        token = tail[place]
        if token.kind in {"word", "letter"}:
            word = token.text if len(token.text) == 1 else token.text.lower()
            if word.lower() in _NO_UNITS or word in _FACTORS:
                raise Unreadable(f"the word {word!r} behind a number")
            if token.kind == "letter" and words[-1:] != ["/"]:
                raise Unreadable("an unknown behind a word")
            if word == "per":
                words.append("/")
            elif word in _POWERS:
                power = _POWERS[word]
            else:
                words.append(_canonical(word))
        elif token.text == "^" and (exponent := _exponent(tail[place + 1 :])):
            words.append(f"^{exponent}")
            place += 1 if tail[place + 1].kind == "number" else 3
        elif (token.kind, token.text) in _WITHIN and token.text not in "{}^":
            words.append(token.text)
        else:
            raise Unreadable(f"{token.text!r} behind a word")
        place += 1
    if not words:
        raise Unreadable("a power where a unit was expected")
    name = " ".join(words).replace(" ^", "^").strip(" .")
    name += f"^{power}" if power > 1 else ""
    return UNKNOWN_UNIT if re.fullmatch(r"unit(\^[23])?", name) else name


def _canonical(word: str) -> str:
    if word in _CANONICAL:
        return _CANONICAL[word]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _exponent(rest: Sequence[Token]) -> str:
    texts = [token.text for token in rest[:3]]
    if texts[:1] in (["2"], ["3"]):
        return texts[0]
    if len(texts) == 3 and texts[0] == "{" and texts[1] in {"2", "3"} and texts[2] == "}":
        return texts[1]
    return ""


def is_short_unit(word: str) -> bool:
    """Tell whether letters right behind a number are a unit, as in 7kg; 7k and 7th are none."""
    return word in _GLUED


def is_known_unit(unit: str) -> bool:
    """Tell whether a unit in its one spelling is one that has others, such as cm."""
    return unit.partition("^")[0] in _SPELLINGS
