"""Quantities of an answer: an expression with its unit or currency sign, and numerals to a base."""

import re
from collections.abc import Sequence

from quantguard.scorers._answer_types import Numeral, Quantity
from quantguard.scorers._brackets import unwrapped
from quantguard.scorers._cursor import numeral
from quantguard.scorers._expressions import Apply, Expression, Matrix, Number, negative
from quantguard.scorers._parser import parse
from quantguard.scorers._tokens import Token, Unreadable
from quantguard.scorers._units import is_known_unit, unit_of


def quantity(found: Sequence[Token]) -> Quantity:
    """Return the expression and unit that tokens are."""
    found, money = _without_money(found)
    found, unit, factor = unit_of(found)
    if money and unit:
        unit = _priced(money, unit)
    found = unwrapped(found)
    if len(found) == 1 and found[0].kind == "word" and len(found[0].text) == 1:
        found = [Token("letter", found[0].text)]
    expression = parse(found)
    if factor != 1:
        if not isinstance(expression, Number):
            raise Unreadable("a number word behind what is no numeral")
        expression = Number(expression.value * factor)
    return Quantity(_as_matrix(expression), unit or money)


def numeral_to_base(found: Sequence[Token]) -> Numeral | Quantity | None:
    """Return digits with a base behind them, or None; to base ten they are a quantity."""
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
