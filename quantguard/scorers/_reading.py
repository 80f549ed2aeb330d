"""What an answer of mathematics is: read as a whole and without a guess, or not at all."""

# ruff: noqa: RUF001 - the signs of typesetting are what it reads

import functools
import itertools
import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from quantguard.scorers._equality import same
from quantguard.scorers._expressions import Apply, Expression, Matrix, Number, Symbol, negative
from quantguard.scorers._kinds import Answer, Dots, Named, Numeral, Quantity, Relation, Sequenced, Unordered, Words
from quantguard.scorers._numerals import plain
from quantguard.scorers._parser import numeral, parse
from quantguard.scorers._tokens import Token, Unreadable, tokens
from quantguard.scorers._units import is_known_unit, unit_of
from quantguard.scorers._values import exact_value, has_unknowns

_LONGEST_LIST, _MOST_SIGNS = 60, 4
_CLOSING = {"(": {")", "]"}, "[": {")", "]"}, r"\{": {r"\}"}, r"\langle": {r"\rangle"}}
_RELATIONS = {
    ("sign", "="): "=", ("sign", "<"): "<", ("sign", ">"): ">", ("command", r"\le"): "<=", ("command", r"\ge"): ">=",
    ("command", r"\ne"): "!=", ("command", r"\in"): "in",
}  # fmt: skip
_FLIPPED = {">": "<", ">=": "<="}
_INFINITY = Symbol(r"\infty")
_DOTS = Token("command", r"\ldots")
_COMMA, _ANDOR = {",", ";"}, {"and", "or"}
# What an equation may give the value of: an angle, a segment, a function.
_LABEL = re.compile(r"m?\\angle[A-Z0-9]+|[A-Z]{2}|[A-Zpq]\([a-z0-9,]+\)")
_TEXT = re.compile(r"\\(?:text(?:bf|it|rm|normal|sf|tt)?|mbox|hbox|mathrm|mathbf|operatorname)\s*\{([^{}]*)\}")
_PROSE = re.compile(r"[\w\s'’\"“”(),.;:!?/&-]*", flags=re.ASCII)


@functools.lru_cache(maxsize=4096)
def read(text: str) -> Answer | None:
    """Return what an answer without its box is, or None where it cannot be read without a guess."""
    try:
        return _answer(tokens(_without_box(text)))
    except (Unreadable, RecursionError):
        return _words(text)


def numeric_value(text: str) -> Fraction | None:
    """Return the rational number that an answer is, without its unit and name, or None where it is anything else."""
    answer = read(text)
    answer = answer.answer if isinstance(answer, Named) else answer
    try:
        return exact_value(answer.expression) if isinstance(answer, Quantity) else None
    except Unreadable:
        return None


def _without_box(text: str) -> str:
    return re.sub(r"\\(?:boxed|fbox)\s*\{", "{", text)


def _words(text: str) -> Words | None:
    """Return a text that has a word in it and no mathematics, or None."""
    bare = re.sub(r"\\[ ,;:!]|\\q?quad|~|\$", " ", _TEXT.sub(r" \1 ", plain(text)))
    bare = re.sub(r"\b([aApP])\.\s*([mM])\.", r"\1\2", bare)
    bare = " ".join(re.sub("['’\"“”]", "'", bare).split())
    bare = re.sub(r"\s+([,.;:!?)])", r"\1", re.sub(r"\(\s+", "(", bare)).rstrip(".").strip().strip("'")
    letters = re.findall("[A-Za-z]{2,}", bare)
    if not letters or not _PROSE.fullmatch(bare):
        return None
    return Words(bare.casefold())


def _answer(found: Sequence[Token]) -> Answer:
    found = _unwrapped(found)
    parts, separators = _split(found, lambda token: token.kind == "separator")
    if len(parts) > 1:
        return _list(parts, separators)
    return _item(found)


def _unwrapped(found: Sequence[Token]) -> Sequence[Token]:
    """Return tokens without TeX's braces around all of them."""
    while len(found) > 2 and found[0].text == "{" and found[0].kind == "brace" and _partner(found, 0) == len(found) - 1:
        found = found[1:-1]
    return found


def _partner(found: Sequence[Token], start: int) -> int:
    depth = 0
    for position in range(start, len(found)):
        depth += _step(found[position])
        if depth == 0:
            return position
    raise Unreadable("a bracket without a partner")


def _step(token: Token) -> int:
    opens = token.kind == "open" or token == Token("brace", "{")
    closes = token.kind == "close" or token == Token("brace", "}")
    return opens - closes


def _split(found: Sequence[Token], at: Callable[[Token], bool]) -> tuple[list[Sequence[Token]], list[Token]]:
    """Return the parts between tokens that are in no bracket, and those tokens."""
    parts: list[Sequence[Token]] = []
    between: list[Token] = []
    depth = start = environments = 0
    for position, token in enumerate(found):
        depth += _step(token)
        environments += (token.text == r"\begin") - (token.text == r"\end")
        if depth == 0 and not environments and at(token):
            parts.append(found[start:position])
            between.append(token)
            start = position + 1
    return [*parts, found[start:]], between


def _list(parts: list[Sequence[Token]], separators: list[Token]) -> Answer:
    signs = [separator.text for separator in separators]
    if len(parts) > _LONGEST_LIST:
        raise Unreadable("a long list")
    # "1, 2, and 3": the comma before a word is a part of it.
    for position in range(len(parts) - 2, 0, -1):
        if not parts[position] and signs[position - 1] in _COMMA and signs[position] in _ANDOR:
            del parts[position], signs[position - 1]
    if any(part == [_DOTS] or (len(part) == 1 and part[0] == _DOTS) for part in parts):
        return Sequenced("", "", tuple(_part(part) for part in parts))
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
    return isinstance(answer, Named) and isinstance(answer.answer, (Sequenced, Unordered))


def _united(answers: Sequence[Answer]) -> Answer:
    names = {answer.name for answer in answers if isinstance(answer, Named)}
    if len(names) != 1:
        raise Unreadable("conditions for several unknowns")
    return Named(
        names.pop(), Unordered("union", tuple(answer.answer for answer in answers if isinstance(answer, Named)))
    )


def _alternatives(found: Sequence[Token]) -> list[Answer]:
    r"""Return the answers that a part of a list is: several where it has \pm."""
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
    bare = _unwrapped(found)
    if len(bare) < len(found):
        return _answer(bare)
    if not found:
        raise Unreadable("nothing")
    sides, signs = _split(found, lambda token: (token.kind, token.text) in _RELATIONS)
    if signs:
        return _related(sides, [_RELATIONS[sign.kind, sign.text] for sign in signs])
    if any(token.text in {r"\pm", r"\mp"} and token.kind == "command" for token in found) and found[0].text != r"\{":
        alternatives = _alternatives(found)
        return Unordered("list", tuple(alternatives))
    parts, _ = _split(found, lambda token: token == Token("command", r"\cup"))
    if len(parts) > 1:
        return Unordered("union", tuple(map(_set_part, parts)))
    ratio, _ = _split(found, lambda token: token == Token("sign", ":"))
    if len(ratio) > 1:
        return Sequenced(":", ":", tuple(Quantity(parse(part), "") for part in ratio))
    return _bracketed(found) or _numeral_to_base(found) or _quantity(found)


def _set_part(part: Sequence[Token]) -> Answer:
    answer = _item(part)
    if isinstance(answer, (Sequenced, Unordered)) or (isinstance(answer, Quantity) and _is_name(answer.expression)):
        return answer
    raise Unreadable("a union of what is no set")


def _bracketed(found: Sequence[Token]) -> Answer | None:
    opens = found[0]
    if opens.kind != "open" or _partner(found, 0) != len(found) - 1:
        return None
    closes, inner = found[-1], found[1:-1]
    if closes.text not in _CLOSING[opens.text]:
        raise Unreadable(f"the brackets {opens.text} and {closes.text}")
    if opens.text == r"\{":
        return _set(inner)
    parts, separators = _split(inner, lambda token: token.kind == "separator")
    if any(separator.text in _ANDOR for separator in separators):
        raise Unreadable("a word between brackets")
    if len(parts) == 1 and (opens.text, closes.text) == ("(", ")"):
        # Brackets of grouping, as in (B), or in (x+1).
        return _item(inner)
    if len(parts) == 1 and opens.text != "[":
        raise Unreadable(f"the brackets {opens.text} around one value")
    return Sequenced(opens.text, closes.text, tuple(_part(part) for part in parts))


def _set(inner: Sequence[Token]) -> Answer:
    if not inner:
        return Unordered("set", ())
    parts, _ = _split(inner, lambda token: token.kind == "separator")
    if any(token.text in {r"\mid", ":", "|"} for token in inner):
        raise Unreadable("a set by a condition")
    if any(len(part) == 1 and part[0] == _DOTS for part in parts):
        return Sequenced(r"\{", r"\}", tuple(_part(part) for part in parts))
    return Unordered("set", tuple(answer for part in parts for answer in _alternatives(part)))


def _numeral_to_base(found: Sequence[Token]) -> Answer | None:
    sign = found[0].text if found[0].kind == "sign" and found[0].text in "+-" else ""
    rest = found[1:] if sign else found
    texts = [token.text for token in rest]
    braced = len(rest) == 5 and texts[2] == "{" and texts[4] == "}"
    if len(rest) not in {3, 5} or texts[1] != "_" or rest[0].kind != "number" or (len(rest) == 5 and not braced):
        return None
    digits, base = texts[0], texts[3] if braced else texts[2]
    if (
        not digits.isdigit()
        or not re.fullmatch("[1-9][0-9]?", base)
        or not 2 <= int(base) <= 36
        or int(max(digits)) >= int(base)
    ):
        raise Unreadable("a numeral to a base")
    bare = digits.lstrip("0") or "0"
    if int(base) == 10:
        value = numeral(bare)
        return Quantity(negative(value) if sign == "-" else value, "")
    return Numeral(("-" if sign == "-" and bare != "0" else "") + bare, int(base))


def _quantity(found: Sequence[Token]) -> Quantity:
    found, money = _without_money(found)
    found, unit, factor = unit_of(found)
    if money and unit:
        unit = _priced(money, unit)
    found = _unwrapped(found)
    if len(found) == 1 and found[0].kind == "word" and len(found[0].text) == 1:
        found = [Token("letter", found[0].text)]
    expression = parse(found)
    if factor != 1:
        if not isinstance(expression, Number):
            raise Unreadable("a number word behind what is no numeral")
        expression = Number(expression.value * factor)
    return Quantity(_as_matrix(expression), unit or money)


def _priced(money: str, unit: str) -> str:
    """Return the unit of an amount of money with words behind it: per what, or what is no unit, such as each."""
    if unit.startswith("/"):
        return f"{money} {unit}"
    if unit != money and is_known_unit(unit):
        raise Unreadable("two units")
    return money


def _without_money(found: Sequence[Token]) -> tuple[Sequence[Token], str]:
    """Take a currency sign off the front, before or behind a sign, or off the end."""
    if not any(token.kind == "money" for token in found):
        return found, ""
    places = [place for place, token in enumerate(found) if token.kind == "money"]
    place = places[0]
    leading = place == 0 or (place == 1 and found[0].text in {"+", "-"} and found[0].kind == "sign")
    if len(places) > 1 or not (leading or place == len(found) - 1) or len(found) == 1:
        raise Unreadable("a currency sign within an expression")
    return [*found[:place], *found[place + 1 :]], found[place].text


def _as_matrix(expression: Expression) -> Expression:
    """Return a number times a matrix as the matrix that it is."""
    if not isinstance(expression, Apply) or expression.name not in {"*", "/"}:
        return expression
    left, right = (_as_matrix(argument) for argument in expression.arguments)
    if expression.name == "*" and isinstance(right, Matrix) and not isinstance(left, Matrix):
        return Matrix(tuple(tuple(Apply("*", (left, entry)) for entry in row) for row in right.rows))
    if isinstance(left, Matrix) and not isinstance(right, Matrix):
        return Matrix(tuple(tuple(Apply(expression.name, (entry, right)) for entry in row) for row in left.rows))
    return expression


def _is_name(expression: Expression) -> bool:
    return isinstance(expression, Symbol) and expression.name not in {"e", "i", r"\pi", r"\infty"}


def _related(sides: list[Sequence[Token]], signs: list[str]) -> Answer:
    if not all(sides):
        raise Unreadable("a relation without a side")
    if "in" in signs:
        return _member(sides, signs)
    if set(signs) == {"="}:
        return _equal_chain(sides)
    if len(sides) > 2:
        return _between(sides, signs)
    left, right = (_plain_value(side) for side in sides)
    sign = signs[0]
    if sign in _FLIPPED:
        left, right, sign = right, left, _FLIPPED[sign]
    if sign != "!=" and _is_name(left) and _is_bound(right):
        return Named(_name(left), _interval("(", negative(_INFINITY), right, "]" if sign == "<=" else ")"))
    if sign != "!=" and _is_name(right) and _is_bound(left):
        return Named(_name(right), _interval("[" if sign == "<=" else "(", left, _INFINITY, ")"))
    return Relation(sign, left, right)


def _is_bound(expression: Expression) -> bool:
    return expression in {_INFINITY, negative(_INFINITY)} or not has_unknowns(expression)


def _name(expression: Expression) -> str:
    assert isinstance(expression, Symbol)
    return expression.name


def _interval(opens: str, low: Expression, high: Expression, closes: str) -> Answer:
    return Sequenced(opens, closes, (Quantity(low, ""), Quantity(high, "")))


def _plain_value(side: Sequence[Token]) -> Expression:
    quantity = _quantity(side)
    if quantity.unit:
        raise Unreadable("a unit within a relation")
    return quantity.expression


def _member(sides: list[Sequence[Token]], signs: list[str]) -> Answer:
    if len(sides) != 2 or signs != ["in"]:
        raise Unreadable("a chain of relations")
    name, members = _plain_value(sides[0]), _item(sides[1])
    if not _is_name(name) or not (isinstance(members, Unordered) or _is_a_set(members)):
        raise Unreadable("what is in what")
    return Named(_name(name), members)


def _is_a_set(answer: Answer) -> bool:
    if isinstance(answer, Sequenced):
        return len(answer.parts) == 2 and answer.opens in {"(", "["}
    return isinstance(answer, Quantity) and isinstance(answer.expression, Symbol)


def _equal_chain(sides: list[Sequence[Token]]) -> Answer:
    name = _called(sides[0])
    last = _item(sides[-1])
    if name is not None and name not in _symbols_of(last):
        for side in sides[1:-1]:
            if _called(side) is None and not same(_item(side), last):
                raise Unreadable("an equation that does not hold")
        return Named(name, last)
    reversed_name = _called(sides[-1]) if len(sides) == 2 else None
    if reversed_name is not None and reversed_name not in _symbols_of(first := _item(sides[0])):
        return Named(reversed_name, first)
    if sides[0] == sides[-1]:
        raise Unreadable("an identity")
    values = [_item(side) for side in sides]
    if all(isinstance(value, Quantity) and not has_unknowns(value.expression) for value in values):
        if not all(same(value, last) for value in values):
            raise Unreadable("an equation that does not hold")
        return last
    if len(sides) != 2:
        raise Unreadable("a chain of equations")
    return Relation("=", _plain_value(sides[0]), _plain_value(sides[1]))


def _called(side: Sequence[Token]) -> str | None:
    """Return the name that one side of an equation is, or None: an unknown, (x, y), f(x), words, AB or an angle."""
    spelling = "".join(token.text for token in side)
    if _LABEL.fullmatch(spelling):
        return spelling
    if all(token.kind == "word" for token in side):
        return " ".join(token.text.casefold() for token in side)
    if len(side) > 3 and side[0].text == "(" and _partner(side, 0) == len(side) - 1:
        names = [_called(part) for part in _split(side[1:-1], lambda token: token.text == ",")[0]]
        return None if None in names else f"({','.join(map(str, names))})"
    try:
        expression = parse(side)
    except Unreadable:
        return None
    return expression.name if isinstance(expression, Symbol) and _is_name(expression) else None


def _symbols_of(answer: Answer) -> set[str]:
    if isinstance(answer, Quantity):
        return _symbols_in(answer.expression)
    if isinstance(answer, (Sequenced, Unordered)):
        return set().union(*map(_symbols_of, answer.parts))
    return set()


def _symbols_in(expression: Expression) -> set[str]:
    if isinstance(expression, Symbol):
        return {expression.name}
    if isinstance(expression, Apply):
        return set().union(*map(_symbols_in, expression.arguments))
    if isinstance(expression, Matrix):
        return set().union(*(_symbols_in(entry) for row in expression.rows for entry in row))
    return set()


def _between(sides: list[Sequence[Token]], signs: list[str]) -> Answer:
    if len(sides) != 3 or not (set(signs) <= {"<", "<="} or set(signs) <= {">", ">="}):
        raise Unreadable("a chain of relations")
    low, name, high = (_plain_value(side) for side in sides)
    if signs[0] in _FLIPPED:
        low, high, signs = high, low, [_FLIPPED[sign] for sign in reversed(signs)]
    if not (_is_name(name) and _is_bound(low) and _is_bound(high)):
        raise Unreadable("a chain of relations for no single unknown")
    return Named(_name(name), _interval("[" if signs[0] == "<=" else "(", low, high, "]" if signs[1] == "<=" else ")"))
