"""The parser of expressions, which reads LaTeX and ASCII without a guess."""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from quantguard.scorers._expressions import Apply, Expression, Matrix, Number, Symbol, negative
from quantguard.scorers._numerals import number
from quantguard.scorers._tokens import FUNCTIONS, Token, Unreadable

_GREEK = frozenset(
    r"\alpha \beta \gamma \delta \epsilon \zeta \eta \theta \iota \kappa \lambda \mu \nu \xi \rho \sigma \tau \upsilon"  # noqa: SIM905
    r" \phi \chi \psi \omega \Gamma \Delta \Theta \Lambda \Sigma \Phi \Psi \Omega \pi \infty \ell".split()
)
# What stands around a letter and makes another symbol of it.
_ACCENTS = frozenset(
    r"\vec \hat \bar \overline \mathbf \boldsymbol \mathbb \mathcal \mathfrak \overrightarrow \tilde \bm".split()  # noqa: SIM905
)
_MATRICES = frozenset("matrix pmatrix bmatrix Bmatrix smallmatrix array".split())  # noqa: SIM905
_FUNCTION_LETTERS = frozenset("fgh")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_FENCES = {r"\lfloor": (r"\rfloor", "floor"), r"\lceil": (r"\rceil", "ceil")}
_SIGNS = {"+", "-"}


def parse(found: Sequence[Token]) -> Expression:
    """Return the expression that all of the tokens are; raise Unreadable where they are anything else."""
    parser = Parser(found)
    expression = parser.sum()
    parser.require_end()
    return expression


def numeral(text: str) -> Number:
    """Return the number that a token is."""
    value = Fraction(text) if "/" in text else number(text)
    if value is None:
        raise Unreadable(f"the numeral {text!r}")
    return Number(value)


class Parser:
    """Reads tokens from left to right."""

    def __init__(self, found: Sequence[Token]) -> None:
        self._tokens, self._at = list(found), 0
        # Within bars, the next bar ends the absolute value.
        self._bars = 0

    def require_end(self) -> None:
        """Raise Unreadable where tokens are left."""
        if self._at < len(self._tokens):
            raise Unreadable(f"what {self._tokens[self._at].text!r} is to mean")

    def _peek(self, ahead: int = 0) -> Token:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else Token("end", "")

    def _next(self) -> Token:
        token = self._peek()
        self._at += 1
        return token

    def _take(self, kind: str, text: str) -> bool:
        if self._peek() != Token(kind, text):
            return False
        self._at += 1
        return True

    def _expect(self, kind: str, text: str) -> None:
        if not self._take(kind, text):
            raise Unreadable(f"{text!r} is missing")

    def sum(self) -> Expression:
        """Read terms with signs between them."""
        terms = [self._signed_term()]
        while self._peek().kind == "sign" and self._peek().text in _SIGNS:
            terms.append(self._signed_term())
        return terms[0] if len(terms) == 1 else Apply("+", tuple(terms))

    def _signed_term(self) -> Expression:
        minus = False
        while self._peek().kind == "sign" and self._peek().text in _SIGNS:
            if self._at and self._tokens[self._at - 1].text in _SIGNS and self._tokens[self._at - 1].kind == "sign":
                raise Unreadable("two signs in a row")
            minus ^= self._next().text == "-"
        term = self._term()
        return negative(term) if minus else term

    def _term(self) -> Expression:
        term, divided, slashes = self._factor(first=True), False, 0
        while True:
            token = self._peek()
            if token == Token("sign", "*"):
                self._at += 1
                term, divided = Apply("*", (term, self._signed_factor())), False
            elif token == Token("sign", "/"):
                slashes += 1
                if slashes > 1:
                    raise Unreadable("two slashes in a row")
                self._at += 1
                term, divided = Apply("/", (term, self._signed_factor())), True
            elif self._starts_factor():
                # 1/2x is a half of x for one reader and its inverse for another.
                if divided:
                    raise Unreadable("a factor behind a slash, without brackets")
                if token.kind == "number":
                    raise Unreadable("a number behind another factor")
                term = Apply("*", (term, self._factor()))
            else:
                return term

    def _signed_factor(self) -> Expression:
        minus = self._take("sign", "-")
        factor = self._factor(first=True)
        return negative(factor) if minus else factor

    def _starts_factor(self) -> bool:
        token = self._peek()
        if token == Token("sign", "|"):
            return not self._bars
        return (
            token.kind in {"number", "letter"}
            or token.text in _CLOSING
            or (token.kind == "command" and self._is_atom(token.text))
        )

    def _is_atom(self, command: str) -> bool:
        return (
            command in _GREEK
            or command in _ACCENTS
            or command in _FENCES
            or command.removeprefix("\\") in FUNCTIONS
            or command in _MACROS
        )

    def _factor(self, *, first: bool = False) -> Expression:
        start = self._at
        factor = self._atom()
        if first and self._at == start + 1 and self._tokens[start].kind == "number":
            factor = self._mixed(self._tokens[start].text, factor)
        return self._postfixed(factor, start)

    def _mixed(self, numeral: str, whole: Expression) -> Expression:
        """Return a whole number and the fraction behind it as one number, as in school, or the whole number alone."""
        if self._peek() != Token("command", r"\frac"):
            return whole
        back = self._at
        fraction = self._atom()
        if not isinstance(fraction, Apply) or not all(isinstance(part, Number) for part in fraction.arguments):
            self._at = back
            return whole
        above, below = (part.value for part in fraction.arguments if isinstance(part, Number))
        if not numeral.isdigit() or not (0 < above < below) or above.denominator != 1 or below.denominator != 1:
            raise Unreadable("a number before a fraction that makes no mixed number")
        return Apply("+", (whole, fraction))

    def _postfixed(self, base: Expression, start: int) -> Expression:
        while True:
            if self._take("command", r"\circ"):
                base = Apply("degrees", (base,))
            elif self._take("sign", "^"):
                if self._take_circle():
                    base = Apply("degrees", (base,))
                elif self._peek() == Token("sign", "'") or self._peek().text in {r"\prime", r"\top", "T"}:
                    raise Unreadable("a derivative or a transpose")
                else:
                    base = Apply("^", (base, self._argument(whole_numeral=True)))
            elif self._take("sign", "!"):
                if self._peek() == Token("sign", "!"):
                    raise Unreadable("two factorial signs")
                base = Apply("!", (base,))
            elif self._peek() in {Token("sign", "_"), Token("sign", "'")}:
                raise Unreadable(
                    f"an index or prime behind {''.join(t.text for t in self._tokens[start : self._at])!r}"
                )
            else:
                return base

    def _take_circle(self) -> bool:
        if self._take("command", r"\circ"):
            return True
        braced = [self._peek(ahead) for ahead in range(3)]
        if [token.text for token in braced] == ["{", r"\circ", "}"]:
            self._at += 3
            return True
        return False

    def _argument(self, *, whole_numeral: bool = False) -> Expression:
        """Read what a macro of TeX takes: a group between braces, or a single digit or letter."""
        token = self._peek()
        if self._take("brace", "{"):
            return self._until("brace", "}")
        if token.kind == "number":
            return self._numeral_argument(whole_numeral=whole_numeral)
        if whole_numeral and token == Token("sign", "-"):
            self._at += 1
            return negative(self._argument(whole_numeral=True))
        if whole_numeral and token == Token("open", "("):
            return self._atom()
        if token.kind == "letter" or (token.kind == "command" and token.text in _GREEK | {r"\frac", r"\sqrt"}):
            return self._atom()
        raise Unreadable(f"{token.text!r} where an argument was expected")

    def _numeral_argument(self, *, whole_numeral: bool) -> Expression:
        text = self._peek().text
        if whole_numeral or len(text) == 1:
            self._at += 1
            return numeral(text)
        if not text.isdigit():
            raise Unreadable(f"the argument {text!r} without braces")
        # TeX takes the first digit and leaves the rest.
        self._tokens[self._at] = Token("number", text[1:])
        return numeral(text[0])

    def _until(self, kind: str, text: str) -> Expression:
        bars, self._bars = self._bars, 0
        inner = self.sum()
        self._expect(kind, text)
        self._bars = bars
        return inner

    def _atom(self) -> Expression:
        token = self._next()
        if token.kind == "number":
            return numeral(token.text)
        if token.kind == "letter":
            return self._symbol(token.text)
        if token.kind == "command":
            return self._command(token.text)
        if token == Token("sign", "|"):
            return self._absolute()
        if token.text not in _CLOSING:
            raise Unreadable(f"{token.text or 'an end'!r} where a value was expected")
        return self._until("brace" if token.kind == "brace" else "close", _CLOSING[token.text])

    def _absolute(self) -> Expression:
        self._bars += 1
        inner = self.sum()
        self._expect("sign", "|")
        self._bars -= 1
        return Apply("abs", (inner,))

    def _symbol(self, name: str) -> Expression:
        if name in _FUNCTION_LETTERS and self._peek() == Token("open", "("):
            return Symbol(name + self._spelling())
        if self._take("sign", "_"):
            return Symbol(f"{name}_{self._index()}")
        return Symbol(name)

    def _index(self) -> str:
        token = self._next()
        if token.kind in {"number", "letter"} and len(token.text) == 1:
            return token.text
        if token != Token("brace", "{"):
            raise Unreadable(f"the index {token.text!r}")
        self._at -= 1
        return self._spelling()[1:-1]

    def _spelling(self) -> str:
        """Take a group between brackets or braces and return how it is spelt."""
        depth, parts = 0, []
        while True:
            token = self._next()
            if token.kind == "end":
                raise Unreadable("a bracket that never ends")
            parts.append(token.text if token.kind != "word" else f" {token.text}")
            depth += (token.kind == "open" or token.text == "{") - (token.kind == "close" or token.text == "}")
            if depth == 0:
                return "".join(parts)

    def _command(self, command: str) -> Expression:
        if command in _GREEK or command == r"\emptyset":
            return self._symbol(command)
        if command in _ACCENTS:
            return self._accented(command)
        if command in _FENCES:
            closing, name = _FENCES[command]
            return Apply(name, (self._until("command", closing),))
        if command.removeprefix("\\") in FUNCTIONS:
            return self._function(command.removeprefix("\\"))
        if command not in _MACROS:
            raise Unreadable(f"{command} where a value was expected")
        return _MACROS[command](self)

    def fraction(self) -> Expression:
        """Read what two arguments are for a fraction bar."""
        return Apply("/", (self._argument(), self._argument()))

    def binomial(self) -> Expression:
        """Read the arguments of a binomial coefficient."""
        return Apply("binom", (self._argument(), self._argument()))

    def _accented(self, command: str) -> Expression:
        spelling = self._spelling() if self._peek() == Token("brace", "{") else f"{{{self._next().text}}}"
        if re.search("[0-9]", spelling) or spelling == "{}":
            raise Unreadable(f"{command}{spelling}")
        name = f"{command}{spelling}"
        return Symbol(f"{name}_{self._index()}" if self._take("sign", "_") else name)

    def root(self) -> Expression:
        """Read an index, where there is one, and what the root is of."""
        index: Expression = Number(Fraction(2))
        if self._take("open", "["):
            index = self._until("close", "]")
        if self._peek() == Token("open", "("):
            return Apply("root", (self._atom(), index))
        if self._peek().kind == "number" and len(self._peek().text) > 1:
            raise Unreadable(f"the root of {self._peek().text!r} without braces")
        return Apply("root", (self._argument(), index))

    def _function(self, name: str) -> Expression:
        power: Expression | None = None
        base: Expression | None = None
        while self._peek() in {Token("sign", "^"), Token("sign", "_")}:
            if self._next().text == "^":
                power = self._argument(whole_numeral=True)
            elif name == "log":
                base = self._argument()
            else:
                raise Unreadable(f"an index of {name}")
        argument = self._function_argument()
        if base is not None:
            value = Apply("/", (Apply("ln", (argument,)), Apply("ln", (base,))))
        elif power == Number(Fraction(-1)):
            if name not in {"sin", "cos", "tan"}:
                raise Unreadable(f"the inverse of {name}")
            return Apply(f"arc{name}", (argument,))
        else:
            value = Apply(name, (argument,))
        return value if power is None else Apply("^", (value, power))

    def _function_argument(self) -> Expression:
        """Read what a function is applied to: a bracket, or factors up to the next function or sign."""
        if self._peek() == Token("open", "("):
            inner = self._atom()
            if self._peek() == Token("sign", "^"):
                raise Unreadable("a power behind the bracket of a function")
            return inner
        argument = self._signed_factor()
        while self._starts_factor() and self._peek().text.removeprefix("\\") not in FUNCTIONS:
            if self._peek().kind in {"number", "open"}:
                raise Unreadable("where the argument of a function ends")
            argument = Apply("*", (argument, self._factor()))
        if self._peek() == Token("sign", "/"):
            raise Unreadable("where the argument of a function ends")
        return argument

    def matrix(self) -> Expression:
        """Read the rows of an environment."""
        name = self._spelling()[1:-1].strip()
        if name not in _MATRICES:
            raise Unreadable(f"the environment {name!r}")
        if name == "array":
            self._spelling()
        rows: list[list[Expression]] = [[]]
        while not self._take("command", r"\end"):
            if rows[-1] and (self._take("command", r"\\") or self._take("command", r"\cr")):
                rows.append([])
                continue
            if rows[-1]:
                self._expect("sign", "&")
            rows[-1].append(self.sum())
        if self._spelling()[1:-1].strip() != name:
            raise Unreadable("an environment that ends under another name")
        rows = [row for row in rows if row]
        if not rows or len({len(row) for row in rows}) != 1:
            raise Unreadable("a matrix whose rows are not of one length")
        return Matrix(tuple(map(tuple, rows)))


_MACROS: dict[str, Callable[[Parser], Expression]] = {
    r"\frac": Parser.fraction,
    r"\binom": Parser.binomial,
    r"\sqrt": Parser.root,
    r"\begin": Parser.matrix,
    r"\i": lambda _: Symbol("i"),
}
