"""Expressions of an answer: a tree of exact numbers, symbols and what is applied to them."""

import dataclasses
from fractions import Fraction


@dataclasses.dataclass(frozen=True, slots=True)
class Number:
    """An exact number."""

    value: Fraction


@dataclasses.dataclass(frozen=True, slots=True)
class Symbol:
    """An unknown, a constant, or what is only compared by its spelling, such as ``f(x)``."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Apply:
    """An operation or function and what it is applied to."""

    name: str
    arguments: tuple["Expression", ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of expressions."""

    rows: tuple[tuple["Expression", ...], ...]


Expression = Number | Symbol | Apply | Matrix


def negative(expression: Expression) -> Expression:
    """Return an expression with the other sign."""
    return (
        Number(-expression.value) if isinstance(expression, Number) else Apply("*", (Number(Fraction(-1)), expression))
    )
