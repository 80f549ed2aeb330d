"""The evaluator of expressions at a point: exact while values are rational, else by mpmath with a number of bits."""

import functools
import math
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any, cast

import mpmath  # type: ignore[import-untyped]
from mpmath.libmp import NoConvergence  # type: ignore[import-untyped]

from quantguard.scorers._expressions import Expression, Matrix, Number, Symbol
from quantguard.scorers._tokens import Unreadable

# Fraction, or a number of mpmath.
Value = Any

# Bounds on sizes, beyond which no answer writes a number out; the second bounds the distance of two terms of a sum.
_LARGEST_EXACT_BITS, _LARGEST_SPREAD, _LARGEST_FACTORIAL = 100_000, 10_000, 8_000
# With more bits the gamma function takes seconds.
_LARGEST_GAMMA_BITS = 2_000
_LARGEST_EXPONENT_BITS = 60


def convert(context: Any, value: Value) -> Any:
    """Convert a number to one of a context of mpmath."""
    if isinstance(value, Fraction):
        return context.mpf(value.numerator) / value.denominator
    return context.mpc(value.real, value.imag) if hasattr(value, "imag") and value.imag else context.mpf(value.real)


def is_real(value: Value) -> bool:
    """Tell whether a number has no imaginary part."""
    return isinstance(value, Fraction) or not value.imag


@functools.lru_cache(maxsize=64)
def _context(bits: int, _thread: int) -> Any:
    """Return an mpmath context of ``bits`` bits for one thread, since mpmath's functions change it while they run."""
    context = mpmath.MPContext()
    context.prec = bits
    return context


class Evaluator:
    """Evaluates expressions at a point, exactly while values are rational."""

    def __init__(self, point: dict[str, Fraction], bits: int) -> None:
        self.context = _context(bits, threading.get_ident())
        self._point = point
        # The largest number of bits between two numbers of one sum or function: that many digits may cancel.
        self.spread = 0

    def of(self, expression: Expression) -> Value:
        """Return the value; raise Unreadable if there is none, and ZeroDivisionError for a division by zero."""
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
            return self.converted(value)
        if not self.context.isfinite(value):
            raise ZeroDivisionError
        return value

    def converted(self, value: Value) -> Any:
        """Convert a number to mpmath, and note the digits that a rational one needs."""
        if isinstance(value, Fraction):
            digits = max(value.numerator.bit_length(), value.denominator.bit_length())
            self.spread = max(self.spread, min(digits, _LARGEST_SPREAD))
        return convert(self.context, value)

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
        """Add numbers."""
        if all(isinstance(term, Fraction) for term in terms):
            return sum(terms, Fraction(0))
        self._note(*terms)
        return sum(map(self.converted, terms), self.context.zero)

    def multiply(self, left: Value, right: Value) -> Value:
        """Multiply two numbers."""
        if isinstance(left, Fraction) and isinstance(right, Fraction):
            return left * right
        return self.converted(left) * self.converted(right)

    def divide(self, left: Value, right: Value) -> Value:
        """Divide; raise ZeroDivisionError by zero."""
        if isinstance(left, Fraction) and isinstance(right, Fraction):
            return left / right
        return self.converted(left) / self.converted(right)

    def power(self, base: Value, exponent: Value) -> Value:
        """Raise to a power: the principal value, except that an odd root of a negative number is the real one."""
        if not base and not exponent:
            raise Unreadable("zero to the power of zero")
        if _is_odd_root(exponent) and is_real(base) and base.real < 0:
            size = self.power(-base, exponent)
            return -size if exponent.numerator % 2 else size
        if isinstance(base, Fraction) and isinstance(exponent, Fraction):
            found = _exact_power(base, exponent)
            if found is not None:
                return found
        if not base:
            raise ZeroDivisionError
        if isinstance(exponent, Fraction) and exponent == Fraction(1, 2):
            return self.context.sqrt(self.converted(base))
        logarithm = self.context.log(self.converted(base)) * self.converted(exponent)
        self._note_argument(logarithm)
        if isinstance(exponent, Fraction) and exponent.denominator == 1:
            return self.converted(base) ** exponent.numerator
        return self.context.exp(logarithm)

    def _note_argument(self, value: Value) -> None:
        """Note the digits that an argument far from 1 needs; raise Unreadable if they are too many."""
        size = abs(self._magnitude(value) or 0)
        if (self._magnitude(value) or 0) > _LARGEST_EXPONENT_BITS or size > _LARGEST_SPREAD:
            raise Unreadable("a number too large or too small")
        self.spread = max(self.spread, size)

    def root(self, radicand: Value, index: Value) -> Value:
        """Return a root, see :meth:`power`."""
        if not isinstance(index, Fraction) or index.denominator != 1 or not 2 <= index <= 1000:
            raise Unreadable("the index of a root")
        return self.power(radicand, 1 / index)

    def factorial(self, value: Value) -> Value:
        """Return a factorial, or the gamma function of one more."""
        if isinstance(value, Fraction) and value.denominator == 1:
            if value < 0:
                raise ZeroDivisionError
            if value > 10**9:
                raise Unreadable(f"the factorial of {value}")
            if value <= _LARGEST_FACTORIAL:
                return Fraction(math.factorial(value.numerator))
        self._note_argument(value)
        self._require_gamma()
        return self.context.gamma(self.converted(value) + 1)

    def _require_gamma(self) -> None:
        if self.context.prec > _LARGEST_GAMMA_BITS or self.spread > _LARGEST_GAMMA_BITS // 8:
            raise Unreadable("a factorial beside numbers so small or large")

    def binomial(self, above: Value, below: Value) -> Value:
        """Return a binomial coefficient."""
        whole = all(isinstance(value, Fraction) and value.denominator == 1 for value in (above, below))
        if whole and 0 <= above <= _LARGEST_FACTORIAL and 0 <= below <= _LARGEST_FACTORIAL:
            return Fraction(math.comb(above.numerator, below.numerator))
        if isinstance(below, Fraction) and below.denominator == 1 and 0 <= below <= 100:
            factors = [self.divide(self.add(above, Fraction(-k)), Fraction(k + 1)) for k in range(int(below))]
            return functools.reduce(self.multiply, factors, Fraction(1))
        self._require_gamma()
        return self.context.binomial(self.converted(above), self.converted(below))

    def absolute(self, value: Value) -> Value:
        """Return an absolute value."""
        return abs(value) if isinstance(value, Fraction) else self.context.fabs(value)

    def floor(self, value: Value) -> Value:
        """Round down; raise Unreadable for an irrational number so near an integer that rounding is not sure."""
        if isinstance(value, Fraction):
            return Fraction(math.floor(value))
        if not is_real(value) or (self._magnitude(value) or 0) > self.context.prec // 2:
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
        return self.converted(value) * self.context.pi / 180

    def function(self, name: str, value: Value) -> Value:
        """Apply a function of mpmath."""
        if name == "exp" or not value:
            if not value:
                return _AT_ZERO[name]() if name in _AT_ZERO else getattr(self.context, name)(self.context.zero)
            return self.power(self._symbol("e"), value)
        if name == "log" and value == 1:
            return Fraction(0)
        self._note_argument(value)
        return getattr(self.context, name)(self.converted(value))

    def hyperbolic(self, name: str, value: Value) -> Value:
        """Compute a hyperbolic function from exponentials, whose distance tells how many digits tanh needs."""
        grown, shrunk = self.function("exp", value), self.function("exp", -value)
        difference, total = self.add(grown, -shrunk), self.add(grown, shrunk)
        if name == "tanh":
            return self.divide(difference, total)
        return self.divide(difference if name == "sinh" else total, Fraction(2))

    def unknown_logarithm(self, value: Value) -> Value:
        """Return a logarithm of unknown base, which the point treats as one more unknown."""
        return self.multiply(self._point["log"], self.function("log", value))


def _is_odd_root(exponent: Value) -> bool:
    return isinstance(exponent, Fraction) and exponent.denominator % 2 == 1 and exponent.denominator > 1


def _exact_power(base: Fraction, exponent: Fraction) -> Fraction | None:
    """Return a rational power exactly, or None if it is irrational or too large to write out."""
    if not base:
        if exponent < 0:
            raise ZeroDivisionError
        return base
    if abs(base) == 1 and exponent.denominator == 1:
        return base ** (exponent.numerator % 2)
    if (base < 0 and exponent.denominator != 1) or exponent.denominator > 64:
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
    # Newton's iteration from above falls until it reaches the root rounded down.
    root = 1 << -(-value.bit_length() // index)
    while (following := ((index - 1) * root + value // root ** (index - 1)) // index) < root:
        root = following
    return root if root**index == value else None


def _undefined() -> Value:
    raise ZeroDivisionError


_AT_ZERO: dict[str, Callable[[], Value]] = {
    **dict.fromkeys(("sin", "tan", "asin", "atan"), lambda: Fraction(0)),
    **dict.fromkeys(("cos", "sec", "exp"), lambda: Fraction(1)),
    **dict.fromkeys(("log", "cot", "csc"), _undefined),
}
_MPMATH = {"ln": "log", "arcsin": "asin", "arccos": "acos", "arctan": "atan"}
_OPERATIONS: dict[str, Callable[..., Value]] = {
    "+": Evaluator.add,
    "*": Evaluator.multiply,
    "/": Evaluator.divide,
    "^": Evaluator.power,
    "!": Evaluator.factorial,
    "root": Evaluator.root,
    "binom": Evaluator.binomial,
    "abs": Evaluator.absolute,
    "floor": Evaluator.floor,
    "ceil": Evaluator.ceiling,
    "degrees": Evaluator.degrees,
    "log": Evaluator.unknown_logarithm,
    **{
        name: functools.partial(lambda self, value, chosen: self.hyperbolic(chosen, value), chosen=name)
        for name in ("sinh", "cosh", "tanh")
    },
    **{
        name: functools.partial(
            lambda self, value, chosen: self.function(chosen, value), chosen=_MPMATH.get(name, name)
        )
        for name in "sin cos tan cot sec csc arcsin arccos arctan ln exp".split()  # noqa: SIM905
    },
}
