r"""Whether two answers are equal, as quantities, points or intervals, sets, lists, equations or words.

Equal is only said of what is equal. Where graders differ, these conventions hold: a unit, a currency sign, degrees,
a percent sign or a name (``x =``, ``x \in``) that one side leaves out is no difference, other ones are; a list without
brackets has no order, one with dots has; brackets of one kind are not those of another; a numeral to a base is one to
that base alone, with the same digits; an inequality for one unknown is its interval. Units are not converted.
"""

import itertools
from collections.abc import Callable, Sequence
from fractions import Fraction

from quantguard.scorers._answer_types import Answer, Dots, Named, Numeral, Ordered, Quantity, Relation, Unordered, Words
from quantguard.scorers._expressions import Apply, Expression, Matrix, Number, Symbol, negative
from quantguard.scorers._units import PERCENT, UNKNOWN_UNIT
from quantguard.scorers._values import proportion, same_value


def same(left: Answer, right: Answer) -> bool:
    """Tell whether two answers are equal; raise Unreadable where one of them has no value."""
    if left == right and not isinstance(left, (Quantity, Relation)):
        require_value(left)
        return True
    if isinstance(left, Named) and isinstance(right, Named):
        return left.name == right.name and same(left.answer, right.answer)
    if isinstance(left, Relation) or isinstance(right, Relation):
        left, right = _as_relation(left), _as_relation(right)
    elif isinstance(left, Named) or isinstance(right, Named):
        bare = [side.answer if isinstance(side, Named) else side for side in (left, right)]
        return same(*bare)
    if isinstance(left, Unordered) and isinstance(right, Unordered):
        return _same_parts(left, right)
    if type(left) is not type(right):
        return False
    return _SAME[type(left)](left, right)


def require_value(answer: Answer) -> None:
    """Raise Unreadable where an answer has a part without a value."""
    if isinstance(answer, Quantity):
        _same_quantity(answer, answer)
    elif isinstance(answer, (Ordered, Unordered)):
        for part in answer.parts:
            require_value(part)
    elif isinstance(answer, Named):
        require_value(answer.answer)


def _as_relation(answer: Answer) -> Answer:
    """Return y = 2x as an equation, to be compared with 2x - y = 0."""
    if isinstance(answer, Named) and isinstance(answer.answer, Quantity) and not answer.answer.unit:
        return Relation("=", Symbol(answer.name), answer.answer.expression)
    return answer


def _same_quantity(left: Quantity, right: Quantity) -> bool:
    units = {left.unit, right.unit} - {"", UNKNOWN_UNIT}
    if len(units) > 1:
        return False
    if _same_expression(left.expression, right.expression):
        return True
    if units != {PERCENT} or left.unit == right.unit:
        return False
    share, other = (left, right) if left.unit == PERCENT else (right, left)
    return _same_expression(Apply("/", (share.expression, Number(Fraction(100)))), other.expression)


def _same_expression(left: Expression, right: Expression) -> bool:
    if isinstance(left, Matrix) and isinstance(right, Matrix):
        if len(left.rows) != len(right.rows) or len(left.rows[0]) != len(right.rows[0]):
            return False
        pairs = zip(itertools.chain(*left.rows), itertools.chain(*right.rows), strict=True)
        # All of them, so that a part without a value is told whatever the others are.
        verdicts = [_same_expression(*pair) for pair in pairs]
        return all(verdicts)
    if isinstance(left, Matrix) or isinstance(right, Matrix):
        return False
    return same_value(left, right)


def _same_sequence(left: Ordered, right: Ordered) -> bool:
    if (left.opens, left.closes, len(left.parts)) != (right.opens, right.closes, len(right.parts)):
        return False
    verdicts = [same(*pair) for pair in zip(left.parts, right.parts, strict=True)]
    return all(verdicts)


def _same_parts(left: Unordered, right: Unordered) -> bool:
    kinds = {left.kind, right.kind}
    if kinds in ({"union", "list"}, {"union", "set"}):
        return False
    if _has_several_names(left) != _has_several_names(right):
        return False
    if kinds == {"set"}:
        return _within(left.parts, right.parts) and _within(right.parts, left.parts)
    return _matched(left.parts, right.parts)


def _has_several_names(answer: Unordered) -> bool:
    return len({part.name for part in answer.parts if isinstance(part, Named)}) > 1


def _within(parts: Sequence[Answer], others: Sequence[Answer]) -> bool:
    return all(any(same(part, other) for other in others) for part in parts)


def _matched(parts: Sequence[Answer], others: Sequence[Answer]) -> bool:
    """Tell whether each part has a partner of its own."""
    if len(parts) != len(others):
        return False
    left = list(others)
    for part in parts:
        partner = next((place for place, other in enumerate(left) if same(part, other)), None)
        if partner is None:
            return False
        del left[partner]
    return True


def _same_relation(left: Relation, right: Relation) -> bool:
    if left.sign != right.sign:
        return False
    differences = [Apply("+", (side.left, negative(side.right))) for side in (left, right)]
    sign = proportion(*differences)
    return sign is not None and (sign > 0 or left.sign in {"=", "!="})


def _equal(left: Answer, right: Answer) -> bool:
    return left == right


_SAME: dict[type, Callable[..., bool]] = {
    Quantity: _same_quantity,
    Ordered: _same_sequence,
    Relation: _same_relation,
    Numeral: _equal,
    Dots: _equal,
    Words: _equal,
}
