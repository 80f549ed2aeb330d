"""What an answer of mathematics can be."""

import dataclasses

from quantguard.scorers._expressions import Expression


@dataclasses.dataclass(frozen=True, slots=True)
class Quantity:
    """An expression and what is counted by it; no unit is an empty text."""

    expression: Expression
    unit: str


@dataclasses.dataclass(frozen=True, slots=True)
class Numeral:
    """Digits to a base other than ten."""

    digits: str
    base: int


@dataclasses.dataclass(frozen=True, slots=True)
class Ordered:
    """Answers in an order, between brackets, such as a point or an interval; a ratio is one between colons."""

    opens: str
    closes: str
    parts: tuple["Answer", ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Unordered:
    """Answers without an order: a ``set``, a ``list`` or a ``union`` of sets."""

    kind: str
    parts: tuple["Answer", ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Dots:
    """What dots stand for in a list."""

    spelling: str


@dataclasses.dataclass(frozen=True, slots=True)
class Named:
    """An answer for what is called by a name."""

    name: str
    answer: "Answer"


@dataclasses.dataclass(frozen=True, slots=True)
class Relation:
    """An equation or inequality, unless it is one for a single unknown: its sign is ``=``, ``<``, ``<=`` or ``!=``."""

    sign: str
    left: Expression
    right: Expression


@dataclasses.dataclass(frozen=True, slots=True)
class Words:
    """A text that is no mathematics."""

    text: str

    @property
    def has_digits(self) -> bool:
        """Tell whether there may be a number in it that was not read, as in ``5 or maybe more``."""
        return any(map(str.isdigit, self.text))


Answer = Quantity | Numeral | Ordered | Unordered | Dots | Named | Relation | Words
