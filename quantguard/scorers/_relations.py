"""Equations, inequalities and membership: what they say of a name, or of several."""

import re
from collections.abc import Callable, Sequence

from quantguard.scorers._answer_types import Answer, Named, Ordered, Quantity, Relation, Unordered
from quantguard.scorers._brackets import partner, split
from quantguard.scorers._equality import same
from quantguard.scorers._expressions import Apply, Expression, Matrix, Symbol, negative
from quantguard.scorers._parser import parse
from quantguard.scorers._quantities import quantity
from quantguard.scorers._tokens import Token, Unreadable
from quantguard.scorers._values import has_unknowns

# Reads the answer that some tokens are.
Item = Callable[[Sequence[Token]], Answer]

_FLIPPED = {">": "<", ">=": "<="}
_INFINITY = Symbol(r"\infty")
# What an equation may give the value of: an angle, a segment, a function.
_LABEL = re.compile(r"m?\\angle[A-Z0-9]+|[A-Z]{2}|[A-Zpq]\([a-z0-9,]+\)")


def related(sides: list[Sequence[Token]], signs: list[str], item: Item) -> Answer:
    """Return what sides and the relations between them say; ``item`` reads a side that is more than a quantity."""
    if not all(sides):
        raise Unreadable("a relation without a side")
    if "in" in signs:
        return _member(sides, signs, item)
    if set(signs) == {"="}:
        return _equal_chain(sides, item)
    if len(sides) > 2:
        return _between(sides, signs)
    left, right = (_plain_value(side) for side in sides)
    sign = signs[0]
    if sign in _FLIPPED:
        left, right, sign = right, left, _FLIPPED[sign]
    if sign != "!=" and is_name(left) and _is_bound(right):
        return Named(_name(left), _interval("(", negative(_INFINITY), right, "]" if sign == "<=" else ")"))
    if sign != "!=" and is_name(right) and _is_bound(left):
        return Named(_name(right), _interval("[" if sign == "<=" else "(", left, _INFINITY, ")"))
    return Relation(sign, left, right)


def _interval(opens: str, low: Expression, high: Expression, closes: str) -> Answer:
    return Ordered(opens, closes, (Quantity(low, ""), Quantity(high, "")))


def _plain_value(side: Sequence[Token]) -> Expression:
    value = quantity(side)
    if value.unit:
        raise Unreadable("a unit within a relation")
    return value.expression


def _member(sides: list[Sequence[Token]], signs: list[str], item: Item) -> Answer:
    if len(sides) != 2 or signs != ["in"]:
        raise Unreadable("a chain of relations")
    name, members = _plain_value(sides[0]), item(sides[1])
    if not is_name(name) or not (isinstance(members, Unordered) or _is_a_set(members)):
        raise Unreadable("what is in what")
    return Named(_name(name), members)


def _is_a_set(answer: Answer) -> bool:
    if isinstance(answer, Ordered):
        return len(answer.parts) == 2 and answer.opens in {"(", "["}
    return isinstance(answer, Quantity) and isinstance(answer.expression, Symbol)


def _equal_chain(sides: list[Sequence[Token]], item: Item) -> Answer:
    name = _called(sides[0])
    last = item(sides[-1])
    if name is not None and name not in _symbols_of(last):
        for side in sides[1:-1]:
            if _called(side) is None and not same(item(side), last):
                raise Unreadable("an equation that does not hold")
        return Named(name, last)
    reversed_name = _called(sides[-1]) if len(sides) == 2 else None
    if reversed_name is not None and reversed_name not in _symbols_of(first := item(sides[0])):
        return Named(reversed_name, first)
    if sides[0] == sides[-1]:
        raise Unreadable("an identity")
    values = [item(side) for side in sides]
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
    if len(side) > 3 and side[0].text == "(" and partner(side, 0) == len(side) - 1:
        names = [_called(part) for part in split(side[1:-1], lambda token: token.text == ",")[0]]
        return None if None in names else f"({','.join(map(str, names))})"
    try:
        expression = parse(side)
    except Unreadable:
        return None
    return expression.name if isinstance(expression, Symbol) and is_name(expression) else None


def _symbols_of(answer: Answer) -> set[str]:
    if isinstance(answer, Quantity):
        return _symbols_in(answer.expression)
    if isinstance(answer, (Ordered, Unordered)):
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
    if not (is_name(name) and _is_bound(low) and _is_bound(high)):
        raise Unreadable("a chain of relations for no single unknown")
    return Named(_name(name), _interval("[" if signs[0] == "<=" else "(", low, high, "]" if signs[1] == "<=" else ")"))


def _is_bound(expression: Expression) -> bool:
    return expression in {_INFINITY, negative(_INFINITY)} or not has_unknowns(expression)


def is_name(expression: Expression) -> bool:
    """Tell whether an expression is a single unknown."""
    return isinstance(expression, Symbol) and expression.name not in {"e", "i", r"\pi", r"\infty"}


def _name(expression: Expression) -> str:
    assert isinstance(expression, Symbol)
    return expression.name
