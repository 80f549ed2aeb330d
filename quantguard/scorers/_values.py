"""The equality of two expressions by value: exact for rational values, else to hundreds of digits, relatively.

Expressions with unknowns are compared at rational points of both signs. Irrational values are computed twice, the
second time with twice the digits: two forms of one value come closer as the digits grow, two different values do not.
"""

import random
from fractions import Fraction
from typing import Any

from quantguard.scorers._evaluator import Evaluator, Value, convert, is_real
from quantguard.scorers._expressions import Apply, Expression, Matrix, Number, Symbol
from quantguard.scorers._tokens import Unreadable

_POINTS, _TRIES = 10, 40
_BITS = 256
_CONSTANTS = {"e", "i", r"\pi"}


def same_value(left: Expression, right: Expression) -> bool:
    """Tell whether two expressions are equal for all values of their unknowns.

    Raises Unreadable if one of them has no value, such as 1/0, or none that can be computed.
    """
    if left == right and isinstance(left, (Number, Symbol)):
        return True
    unknowns = sorted(_unknowns(left) | _unknowns(right))
    found = 0
    for index in range(_TRIES if unknowns else 1):
        point = _point(unknowns, index)
        try:
            if not _same_at(left, right, point):
                return False
        except ZeroDivisionError:
            continue
        found += 1
        if found == _POINTS or not unknowns:
            return True
    raise Unreadable("an expression without a value")


def exact_value(expression: Expression) -> Fraction | None:
    """Return the rational value of an expression, or None if it has unknowns or is irrational."""
    if _unknowns(expression):
        return None
    try:
        value = Evaluator({}, _BITS).of(expression)
    except ZeroDivisionError as error:
        raise Unreadable("a division by zero") from error
    return value if isinstance(value, Fraction) else None


def proportion(left: Expression, right: Expression) -> int | None:
    """Return the sign of the constant factor between two expressions, or None if their ratio is not constant.

    Expressions without unknowns have no such factor.
    """
    unknowns = sorted(_unknowns(left) | _unknowns(right))
    if not unknowns or _unknowns(left) != _unknowns(right):
        return None
    first = _point(unknowns, 0)
    at_first = [_substituted(side, first) for side in (left, right)]
    if any(same_value(side, Number(Fraction(0))) for side in at_first):
        raise Unreadable("an equation that holds where it is tried")
    crossed = Apply("*", (left, at_first[1])), Apply("*", (right, at_first[0]))
    if not same_value(*crossed):
        return None
    values = [Evaluator({}, _BITS).of(side) for side in at_first]
    if not all(map(is_real, values)):
        return None
    return 1 if (values[0] > 0) == (values[1] > 0) else -1


def has_unknowns(expression: Expression) -> bool:
    """Tell whether an expression has symbols other than e, i and pi."""
    return bool(_unknowns(expression))


def _unknowns(expression: Expression) -> set[str]:
    if isinstance(expression, Symbol):
        return set() if expression.name in _CONSTANTS else {expression.name}
    if isinstance(expression, Apply):
        # A log without a base counts as one more unknown, since readers differ: 10 or e.
        own = {"log"} if expression.name == "log" else set()
        return own.union(*map(_unknowns, expression.arguments))
    if isinstance(expression, Matrix):
        return set().union(*(_unknowns(entry) for row in expression.rows for entry in row))
    return set()


def _substituted(expression: Expression, point: dict[str, Fraction]) -> Expression:
    if isinstance(expression, Symbol) and expression.name in point:
        return Number(point[expression.name])
    if isinstance(expression, Apply):
        inner = tuple(_substituted(argument, point) for argument in expression.arguments)
        if expression.name == "log":
            return Apply("*", (Number(point["log"]), Apply("ln", inner)))
        return Apply(expression.name, inner)
    return expression


def _point(unknowns: list[str], index: int) -> dict[str, Fraction]:
    """Return the values of the unknowns at a point, which are the same in every run.

    The first points are positive, negative and integers; the others have values of any sign.
    """
    drawn = random.Random(f"{index} {' '.join(unknowns)}")  # noqa: S311 - the same points in every run
    point = {}
    for name in unknowns:
        sign = (1, -1, 1)[index] if index < 3 else drawn.choice((1, -1))
        # Some of the denominators are even, since powers of negative numbers differ by that.
        below = (227, 64, 1)[index] if index < 3 else drawn.choice((64, 128, 211, 223, 227, 229))
        point[name] = sign * Fraction(drawn.randrange(5, 13) if below == 1 else drawn.randrange(101, 1000, 2), below)
    return point


def _same_at(left: Expression, right: Expression, point: dict[str, Fraction]) -> bool:
    first = Evaluator(point, _BITS)
    rough = first.of(left), first.of(right)
    if all(isinstance(value, Fraction) for value in rough):
        return bool(rough[0] == rough[1])
    # Enough digits to reach from the largest term of a sum to the smallest, and beyond: the rest may cancel.
    bits = _BITS + 2 * first.spread
    if bits > _BITS:
        coarse = Evaluator(point, bits)
        rough = coarse.of(left), coarse.of(right)
    fine = Evaluator(point, 2 * bits)
    exact = fine.of(left), fine.of(right)
    return _came_closer(fine.context, rough, exact, bits)


def _came_closer(context: Any, rough: tuple[Value, Value], exact: tuple[Value, Value], bits: int) -> bool:
    """Tell whether the difference of two values shrank with the digits: it is far below the coarse values' error."""
    coarse, (left, right) = [convert(context, value) for value in rough], [convert(context, value) for value in exact]
    if not all(map(context.isfinite, (left, right))):
        raise Unreadable("a value without an end")
    error = max(abs(coarse[0] - left), abs(coarse[1] - right))
    size = max(abs(left), abs(right))
    allowed = error * context.ldexp(1, -bits // 2) + size * context.ldexp(1, 48 - 2 * bits)
    return bool(abs(left - right) <= allowed)
