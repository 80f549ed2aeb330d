"""The types of a mathematical answer."""

import dataclasses

from quantguard.scorers._expressions import Expression


@dataclasses.dataclass(frozen=True, slots=True)
class Quantity:
    """An expression with its unit, which is an empty text if there is none."""

    expression: Expression
    unit: str


@dataclasses.dataclass(frozen=True, slots=True)
class Numeral:
    """Digits to a base other than ten."""

    digits: str
    base: int


@dataclasses.dataclass(frozen=True, slots=True)
class Ordered:
    """Answers in a fixed order between brackets, such as a point or an interval; a ratio has colons for brackets."""

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
    """The dots of a list such as 1, 2, …, 10."""

    spelling: str


@dataclasses.dataclass(frozen=True, slots=True)
class Named:
    """An answer with the name that it is the value of, as in ``x = 3``."""

    name: str
    answer: "Answer"


@dataclasses.dataclass(frozen=True, slots=True)
class Relation:
    """An equation or inequality that does not just bound one unknown; its sign is ``=``, ``<``, ``<=`` or ``!=``."""

    sign: str
    left: Expression
    right: Expression


@dataclasses.dataclass(frozen=True, slots=True)
class Words:
    """A text that is not mathematics."""

    text: str

    @property
    def has_digits(self) -> bool:
        """Whether it may contain a number that was not read, as in ``5 or maybe more``."""
        return any(map(str.isdigit, self.text))


Answer = Quantity | Numeral | Ordered | Unordered | Dots | Named | Relation | Words
