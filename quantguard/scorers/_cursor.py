"""A cursor over the tokens of an expression, with its numerals, and its names, which are compared by spelling alone."""

import re
from collections.abc import Sequence
from fractions import Fraction

from quantguard.scorers._expressions import Expression, Number, Symbol
from quantguard.scorers._numerals import number
from quantguard.scorers._tokens import Token, Unreadable

GREEK = frozenset(
    r"\alpha \beta \gamma \delta \epsilon \zeta \eta \theta \iota \kappa \lambda \mu \nu \xi \rho \sigma \tau \upsilon"  # noqa: SIM905
    r" \phi \chi \psi \omega \Gamma \Delta \Theta \Lambda \Sigma \Phi \Psi \Omega \pi \infty \ell".split()
)
# What stands around a letter and makes another symbol of it.
ACCENTS = frozenset(
    r"\vec \hat \bar \overline \mathbf \boldsymbol \mathbb \mathcal \mathfrak \overrightarrow \tilde \bm".split()  # noqa: SIM905
)
_FUNCTION_LETTERS = frozenset("fgh")


def numeral(text: str) -> Number:
    """Return the number of a token."""
    value = Fraction(text) if "/" in text else number(text)
    if value is None:
        raise Unreadable(f"the numeral {text!r}")
    return Number(value)


class Cursor:
    """A position in a sequence of tokens."""

    def __init__(self, found: Sequence[Token]) -> None:
        self._tokens, self._at = list(found), 0

    def require_end(self) -> None:
        """Raise Unreadable if tokens are left."""
        if self._at < len(self._tokens):
            raise Unreadable(f"what {self._tokens[self._at].text!r} is to mean")

    def peek(self, ahead: int = 0) -> Token:
        """Return a token without taking it; after the last one, a token of the kind ``end``."""
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else Token("end", "")

    def next(self) -> Token:
        """Take a token."""
        token = self.peek()
        self._at += 1
        return token

    def take(self, kind: str, text: str) -> bool:
        """Take the next token if it is this one; return whether it was."""
        if self.peek() != Token(kind, text):
            return False
        self._at += 1
        return True

    def expect(self, kind: str, text: str) -> None:
        """Take this token; raise Unreadable if the next one is another."""
        if not self.take(kind, text):
            raise Unreadable(f"{text!r} is missing")

    def take_circle(self) -> bool:
        """Take the sign of degrees if it is next; return whether it was."""
        if self.take("command", r"\circ"):
            return True
        braced = [self.peek(ahead) for ahead in range(3)]
        if [token.text for token in braced] == ["{", r"\circ", "}"]:
            self._at += 3
            return True
        return False

    def symbol(self, name: str) -> Expression:
        """Take the index or argument after a name, and return the symbol of both."""
        if name in _FUNCTION_LETTERS and self.peek() == Token("open", "("):
            return Symbol(name + self.spelling())
        if self.take("sign", "_"):
            return Symbol(f"{name}_{self.index()}")
        return Symbol(name)

    def accented(self, command: str) -> Expression:
        """Take the letter under an accent, and return the symbol of both."""
        spelling = self.spelling() if self.peek() == Token("brace", "{") else f"{{{self.next().text}}}"
        if re.search("[0-9]", spelling) or spelling == "{}":
            raise Unreadable(f"{command}{spelling}")
        name = f"{command}{spelling}"
        return Symbol(f"{name}_{self.index()}" if self.take("sign", "_") else name)

    def index(self) -> str:
        """Take an index and return its spelling."""
        token = self.next()
        if token.kind in {"number", "letter"} and len(token.text) == 1:
            return token.text
        if token != Token("brace", "{"):
            raise Unreadable(f"the index {token.text!r}")
        self._at -= 1
        return self.spelling()[1:-1]

    def spelling(self) -> str:
        """Take a group between brackets or braces and return its spelling."""
        depth, parts = 0, []
        while True:
            token = self.next()
            if token.kind == "end":
                raise Unreadable("a bracket that never ends")
            parts.append(token.text if token.kind != "word" else f" {token.text}")
            depth += (token.kind == "open" or token.text == "{") - (token.kind == "close" or token.text == "}")
            if depth == 0:
                return "".join(parts)
