"""Whether two expressions have one value: exactly where they are rational, else to hundreds of digits, relatively.

An expression with unknowns is compared at rational points of both signs. What is not rational is computed twice, the
second time with twice the digits: two spellings of one value come closer by what the digits grew, two values do not.
"""

import fractions
import functools
import math
import random
import threading
from collections.abc import Callable
from typing import Any, cast

import mpmath
from mpmath.libmp import NoConvergence

from quantguard.scorers._expressions import Apply, Expression, Matrix, Number, Symbol
from quantguard.scorers._tokens import Unreadable

Fraction = fractions.Fraction
# Fraction, or a number of mpmath.
Value = Any

_POINTS, _TRIES = 6, 24
_BITS = 256
# Larger than that is no number that an answer writes out; the second is the distance of two terms of a sum.
_LARGEST_EXACT_BITS, _LARGEST_SPREAD, _LARGEST_FACTORIAL = 100_000, 10_000, 8_000
# The gamma function takes seconds with more.
_LARGEST_GAMMA_BITS = 2_000
_LARGEST_EXPONENT_BITS = 60
_CONSTANTS = {"e", "i", r"\pi"}


def same_value(left: Expression, right: Expression) -> bool:
    """Tell whether two expressions are equal for all values of their unknowns.

    Raises Unreadable where one has no value, such as 1/0, or none that can be computed.
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
    """Return the rational number that an expression without unknowns is, or None."""
    if _unknowns(expression):
        return None
    try:
        value = _Evaluation({}, _BITS).of(expression)
    except ZeroDivisionError as error:
        raise Unreadable("a division by zero") from error
    return value if isinstance(value, Fraction) else None


def proportion(left: Expression, right: Expression) -> int | None:
    """Return the sign of the one number by which two expressions differ as factors, or None where there is none.

    Expressions without unknowns have none.
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
    values = [_Evaluation({}, _BITS).of(side) for side in at_first]
    if any(isinstance(value, mpmath.mpc) or not hasattr(value, "real") or value.imag for value in values):
        return None
    return 1 if (values[0] > 0) == (values[1] > 0) else -1


def has_unknowns(expression: Expression) -> bool:
    """Tell whether an expression has symbols other than e, i and pi."""
    return bool(_unknowns(expression))


def _unknowns(expression: Expression) -> set[str]:
    if isinstance(expression, Symbol):
        return set() if expression.name in _CONSTANTS else {expression.name}
    if isinstance(expression, Apply):
        # The base of a bare log is one more unknown: 10 for one reader and e for another.
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
    """Return the same values for the same unknowns: all positive at first, then all negative, then of any sign."""
    drawn = random.Random(f"{index} {' '.join(unknowns)}")  # noqa: S311 - the same points in every run
    point = {}
    for name in unknowns:
        sign = (1, -1)[index] if index < 2 else drawn.choice((1, -1))
        point[name] = sign * Fraction(drawn.randrange(100, 1000), drawn.choice((211, 223, 227, 229, 233)))
    return point


def _same_at(left: Expression, right: Expression, point: dict[str, Fraction]) -> bool:
    first = _Evaluation(point, _BITS)
    rough = first.of(left), first.of(right)
    if all(isinstance(value, Fraction) for value in rough):
        return bool(rough[0] == rough[1])
    # Digits that reach from the largest term of a sum to the smallest, and beyond.
    bits = _BITS + 2 * first.spread
    if bits > _BITS:
        coarse = _Evaluation(point, bits)
        rough = coarse.of(left), coarse.of(right)
    fine = _Evaluation(point, 2 * bits)
    exact = fine.of(left), fine.of(right)
    return _came_closer(fine.context, rough, exact, bits)


def _came_closer(context: Any, rough: tuple[Value, Value], exact: tuple[Value, Value], bits: int) -> bool:
    """Tell whether a difference is that of the digits: far below the error that the coarse values had."""
    coarse, (left, right) = [_into(context, value) for value in rough], [_into(context, value) for value in exact]
    if not all(map(context.isfinite, (left, right))):
        raise Unreadable("a value without an end")
    error = max(abs(coarse[0] - left), abs(coarse[1] - right))
    size = max(abs(left), abs(right))
    allowed = error * context.ldexp(1, -bits // 2) + size * context.ldexp(1, 48 - 2 * bits)
    return bool(abs(left - right) <= allowed)


def _into(context: Any, value: Value) -> Any:
    if isinstance(value, Fraction):
        return context.mpf(value.numerator) / value.denominator
    return context.mpc(value.real, value.imag) if hasattr(value, "imag") and value.imag else context.mpf(value.real)


@functools.lru_cache(maxsize=64)
def _context(bits: int, _thread: int) -> Any:
    """Return mpmath with so many bits; a context belongs to one thread, since its functions change it as they run."""
    context = mpmath.MPContext()
    context.prec = bits
    return context


class _Evaluation:
    """Computes expressions at a point, exactly as far as they are rational."""

    def __init__(self, point: dict[str, Fraction], bits: int) -> None:
        self.context = _context(bits, threading.get_ident())
        self._point = point
        # Bits between the largest and the smallest number that went into one sum or function.
        self.spread = 0

    def of(self, expression: Expression) -> Value:
        """Return the value; raise Unreadable for what has none, and ZeroDivisionError for a division by zero."""
        if isinstance(expression, Number):
            return expression.value
        if isinstance(expression, Symbol):
            return self._symbol(expression.name)
        if isinstance(expression, Matrix):
            raise Unreadable("a matrix within an expression")
        values = [self.of(argument) for argument in expression.arguments]
        try:
            return self._checked(_OPERATIONS[expression.name](self, *values))
        except (ValueError, OverflowError, NoConvergence, TypeError, NotImplementedError) as error:
            raise Unreadable(f"{expression.name} has no value: {error}") from error

    def _symbol(self, name: str) -> Value:
        if name in self._point:
            return self._point[name]
        return {"e": self.context.e, "i": self.context.j, r"\pi": self.context.pi}[name] + self.context.zero

    def _checked(self, value: Value) -> Value:
        if isinstance(value, Fraction):
            if value.numerator.bit_length() + value.denominator.bit_length() <= _LARGEST_EXACT_BITS:
                return value
            return self._float(value)
        if not self.context.isfinite(value):
            raise ZeroDivisionError
        return value

    def _float(self, value: Value) -> Any:
        return _into(self.context, value)

    def _magnitude(self, value: Value) -> int | None:
        """Return the binary exponent of a number, or None for zero."""
        if not value:
            return None
        if isinstance(value, Fraction):
            return value.numerator.bit_length() - value.denominator.bit_length()
        return int(self.context.mag(value))

    def _note(self, *values: Value) -> None:
        sizes = [size for value in values if (size := self._magnitude(value)) is not None]
        spread = max(sizes, default=0) - min(sizes, default=0)
        if spread > _LARGEST_SPREAD:
            raise Unreadable("numbers too far apart for one sum")
        self.spread = max(self.spread, spread)

    def add(self, *terms: Value) -> Value:
        """Sum up."""
        if all(isinstance(term, Fraction) for term in terms):
            return sum(terms, Fraction(0))
        self._note(*terms)
        return sum(map(self._float, terms), self.context.zero)

    def multiply(self, left: Value, right: Value) -> Value:
        """Multiply two numbers."""
        if isinstance(left, Fraction) and isinstance(right, Fraction):
            return left * right
        return self._float(left) * self._float(right)

    def divide(self, left: Value, right: Value) -> Value:
        """Divide; raise ZeroDivisionError by zero."""
        if isinstance(left, Fraction) and isinstance(right, Fraction):
            return left / right
        return self._float(left) / self._float(right)

    def power(self, base: Value, exponent: Value) -> Value:
        """Raise to a power: the principal value."""
        if not base and not exponent:
            raise Unreadable("zero to the power of zero")
        if isinstance(base, Fraction) and isinstance(exponent, Fraction):
            found = _exact_power(base, exponent)
            if found is not None:
                return found
        if not base:
            raise ZeroDivisionError
        if isinstance(exponent, Fraction) and exponent == Fraction(1, 2):
            return self.context.sqrt(self._float(base))
        logarithm = self.context.log(self._float(base)) * self._float(exponent)
        self._note_argument(logarithm)
        if isinstance(exponent, Fraction) and exponent.denominator == 1:
            return self._float(base) ** exponent.numerator
        return self.context.exp(logarithm)

    def _note_argument(self, value: Value) -> None:
        """Keep digits for an argument far from 1, and refuse a power of more digits than a computer counts."""
        size = abs(self._magnitude(value) or 0)
        if (self._magnitude(value) or 0) > _LARGEST_EXPONENT_BITS or size > _LARGEST_SPREAD:
            raise Unreadable("a number too large or too small")
        self.spread = max(self.spread, size)

    def root(self, radicand: Value, index: Value) -> Value:
        """Return a root: the real one of a negative number where the index is odd."""
        if not isinstance(index, Fraction) or index.denominator != 1 or not 2 <= index <= 1000:
            raise Unreadable("the index of a root")
        negative = not getattr(radicand, "imag", 0) and radicand.real < 0
        if negative and index % 2 == 1:
            return -self.power(-radicand, 1 / index)
        return self.power(radicand, 1 / index)

    def factorial(self, value: Value) -> Value:
        """Return a factorial, or the gamma function of one more."""
        if isinstance(value, Fraction) and value.denominator == 1:
            if value < 0 or value > 10**9:
                raise Unreadable(f"the factorial of {value}")
            if value <= _LARGEST_FACTORIAL:
                return Fraction(math.factorial(value.numerator))
        self._note_argument(value)
        if self.context.prec > _LARGEST_GAMMA_BITS or self.spread > _LARGEST_GAMMA_BITS // 8:
            raise Unreadable("a factorial beside numbers so small or large")
        return self.context.gamma(self._float(value) + 1)

    def binomial(self, above: Value, below: Value) -> Value:
        """Return a binomial coefficient."""
        whole = all(isinstance(value, Fraction) and value.denominator == 1 for value in (above, below))
        if whole and 0 <= above <= _LARGEST_FACTORIAL and 0 <= below <= _LARGEST_FACTORIAL:
            return Fraction(math.comb(above.numerator, below.numerator))
        if isinstance(below, Fraction) and below.denominator == 1 and 0 <= below <= 100:
            factors = [self.divide(self.add(above, Fraction(-k)), Fraction(k + 1)) for k in range(int(below))]
            return functools.reduce(self.multiply, factors, Fraction(1))
        raise Unreadable("a binomial coefficient of these")

    def absolute(self, value: Value) -> Value:
        """Return an absolute value."""
        return abs(value) if isinstance(value, Fraction) else self.context.fabs(value)

    def floor(self, value: Value) -> Value:
        """Round down; what is not rational has to be clear of the next integers."""
        if isinstance(value, Fraction):
            return Fraction(math.floor(value))
        if getattr(value, "imag", 0) or (self._magnitude(value) or 0) > self.context.prec // 2:
            raise Unreadable("the floor of this")
        nearest = self.context.nint(value)
        if abs(value - nearest) < self.context.ldexp(1, -self.context.prec // 4):
            raise Unreadable("the floor of what may be an integer")
        return Fraction(int(self.context.floor(value)))

    def ceiling(self, value: Value) -> Value:
        """Round up, see :meth:`floor`."""
        return -self.floor(-value)

    def degrees(self, value: Value) -> Value:
        """Return an angle in radians."""
        return self._float(value) * self.context.pi / 180

    def function(self, name: str, value: Value) -> Value:
        """Apply a function of mpmath."""
        if name == "exp" or not value:
            if not value:
                return _AT_ZERO[name]() if name in _AT_ZERO else getattr(self.context, name)(self.context.zero)
            return self.power(self._symbol("e"), value)
        if name == "log" and value == 1:
            return Fraction(0)
        self._note_argument(value)
        return getattr(self.context, name)(self._float(value))

    def unknown_logarithm(self, value: Value) -> Value:
        """Return a logarithm whose base is not told."""
        return self.multiply(self._point["log"], self.function("log", value))


def _exact_power(base: Fraction, exponent: Fraction) -> Fraction | None:
    """Return a power that is rational, where it is of a size that can be written out."""
    if not base:
        if exponent < 0:
            raise ZeroDivisionError
        return base
    if abs(base) == 1 and exponent.denominator == 1:
        return base ** (exponent.numerator % 2)
    if base < 0 and exponent.denominator != 1:
        return None
    if exponent.denominator > 64:
        return None
    parts = [_exact_root(part, exponent.denominator) for part in (base.numerator, base.denominator)]
    if None in parts:
        return None
    root = Fraction(cast("int", parts[0]), cast("int", parts[1]))
    if abs(exponent.numerator) * max(root.numerator.bit_length(), root.denominator.bit_length()) > _LARGEST_EXACT_BITS:
        return None
    return root**exponent.numerator


def _exact_root(value: int, index: int) -> int | None:
    if value < 2 or index == 1:
        return value
    # Newton's iteration from above, which falls until it is at the root rounded down.
    root = 1 << -(-value.bit_length() // index)
    while (following := ((index - 1) * root + value // root ** (index - 1)) // index) < root:
        root = following
    return root if root**index == value else None


def _undefined() -> Value:
    raise ZeroDivisionError


_AT_ZERO: dict[str, Callable[[], Value]] = {
    **dict.fromkeys(("sin", "tan", "asin", "atan", "sinh", "tanh"), lambda: Fraction(0)),
    **dict.fromkeys(("cos", "sec", "exp", "cosh"), lambda: Fraction(1)),
    **dict.fromkeys(("log", "cot", "csc"), _undefined),
}
_MPMATH = {"ln": "log", "arcsin": "asin", "arccos": "acos", "arctan": "atan"}
_OPERATIONS: dict[str, Callable[..., Value]] = {
    "+": _Evaluation.add,
    "*": _Evaluation.multiply,
    "/": _Evaluation.divide,
    "^": _Evaluation.power,
    "!": _Evaluation.factorial,
    "root": _Evaluation.root,
    "binom": _Evaluation.binomial,
    "abs": _Evaluation.absolute,
    "floor": _Evaluation.floor,
    "ceil": _Evaluation.ceiling,
    "degrees": _Evaluation.degrees,
    "log": _Evaluation.unknown_logarithm,
    **{
        name: functools.partial(
            lambda self, value, chosen: self.function(chosen, value), chosen=_MPMATH.get(name, name)
        )
        for name in "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln exp".split()  # noqa: SIM905
    },
}
