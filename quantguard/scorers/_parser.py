"""The parser of expressions, which reads LaTeX and ASCII without a guess."""

from collections.abc import Callable, Sequence
from fractions import Fraction

from quantguard.scorers._cursor import ACCENTS, GREEK, Cursor, numeral
from quantguard.scorers._expressions import Apply, Expression, Matrix, Number, Symbol, negative
from quantguard.scorers._tokens import FUNCTIONS, Token, Unreadable

_MATRICES = {"matrix", "pmatrix", "bmatrix", "Bmatrix", "smallmatrix", "array"}
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_FENCES = {r"\lfloor": (r"\rfloor", "floor"), r"\lceil": (r"\rceil", "ceil")}
_SIGNS = {"+", "-"}


def parse(found: Sequence[Token]) -> Expression:
    """Return the expression that all of the tokens are; raise Unreadable where they are anything else."""
    parser = Parser(found)
    expression = parser.sum()
    parser.require_end()
    return expression


class Parser(Cursor):
    """Reads tokens from left to right."""

    def __init__(self, found: Sequence[Token]) -> None:
        super().__init__(found)
        # Within bars, the next bar ends the absolute value.
        self._bars = 0

    def sum(self) -> Expression:
        """Read terms with signs between them."""
        terms = [self._signed_term()]
        while self.peek().kind == "sign" and self.peek().text in _SIGNS:
            terms.append(self._signed_term())
        return terms[0] if len(terms) == 1 else Apply("+", tuple(terms))

    def _signed_term(self) -> Expression:
        minus = False
        while self.peek().kind == "sign" and self.peek().text in _SIGNS:
            if self._at and self._tokens[self._at - 1].text in _SIGNS and self._tokens[self._at - 1].kind == "sign":
                raise Unreadable("two signs in a row")
            minus ^= self.next().text == "-"
        term = self._term()
        return negative(term) if minus else term

    def _term(self) -> Expression:
        term, divided, slashes = self._factor(first=True), False, 0
        while True:
            token = self.peek()
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
        minus = self.take("sign", "-")
        factor = self._factor(first=True)
        return negative(factor) if minus else factor

    def _starts_factor(self) -> bool:
        token = self.peek()
        if token == Token("sign", "|"):
            return not self._bars
        return (
            token.kind in {"number", "letter"}
            or token.text in _CLOSING
            or (token.kind == "command" and self._is_atom(token.text))
        )

    def _is_atom(self, command: str) -> bool:
        return (
            command in GREEK
            or command in ACCENTS
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
        if self.peek() != Token("command", r"\frac"):
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
            if self.take("command", r"\circ"):
                base = Apply("degrees", (base,))
            elif self.take("sign", "^"):
                if self.take_circle():
                    base = Apply("degrees", (base,))
                elif self.peek() == Token("sign", "'") or self.peek().text in {r"\prime", r"\top", "T"}:
                    raise Unreadable("a derivative or a transpose")
                else:
                    base = Apply("^", (base, self._argument(whole_numeral=True)))
            elif self.take("sign", "!"):
                if self.peek() == Token("sign", "!"):
                    raise Unreadable("two factorial signs")
                base = Apply("!", (base,))
            elif self.peek() in {Token("sign", "_"), Token("sign", "'")}:
                raise Unreadable(
                    f"an index or prime behind {''.join(t.text for t in self._tokens[start : self._at])!r}"
                )
            else:
                return base

    def _argument(self, *, whole_numeral: bool = False) -> Expression:
        """Read what a macro of TeX takes: a group between braces, or a single digit or letter."""
        token = self.peek()
        if self.take("brace", "{"):
            return self._until("brace", "}")
        if token.kind == "number":
            return self._numeral_argument(whole_numeral=whole_numeral)
        if whole_numeral and token == Token("sign", "-"):
            self._at += 1
            return negative(self._argument(whole_numeral=True))
        if whole_numeral and token == Token("open", "("):
            return self._atom()
        if token.kind == "letter" or (token.kind == "command" and token.text in GREEK | {r"\frac", r"\sqrt"}):
            return self._atom()
        raise Unreadable(f"{token.text!r} where an argument was expected")

    def _numeral_argument(self, *, whole_numeral: bool) -> Expression:
        text = self.peek().text
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
        self.expect(kind, text)
        self._bars = bars
        return inner

    def _atom(self) -> Expression:
        token = self.next()
        if token.kind == "number":
            return numeral(token.text)
        if token.kind == "letter":
            return self.symbol(token.text)
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
        self.expect("sign", "|")
        self._bars -= 1
        return Apply("abs", (inner,))

    def _command(self, command: str) -> Expression:
        if command in GREEK or command == r"\emptyset":
            return self.symbol(command)
        if command in ACCENTS:
            return self.accented(command)
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

    def root(self) -> Expression:
        """Read an index, where there is one, and what the root is of."""
        index: Expression = Number(Fraction(2))
        if self.take("open", "["):
            index = self._until("close", "]")
        if self.peek() == Token("open", "("):
            return Apply("root", (self._atom(), index))
        if self.peek().kind == "number" and len(self.peek().text) > 1:
            raise Unreadable(f"the root of {self.peek().text!r} without braces")
        return Apply("root", (self._argument(), index))

    def _function(self, name: str) -> Expression:
        power: Expression | None = None
        base: Expression | None = None
        while self.peek() in {Token("sign", "^"), Token("sign", "_")}:
            if self.next().text == "^":
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
        if self.peek() == Token("open", "("):
            inner = self._atom()
            if self.peek() == Token("sign", "^"):
                raise Unreadable("a power behind the bracket of a function")
            return inner
        argument = self._signed_factor()
        while self._starts_factor() and self.peek().text.removeprefix("\\") not in FUNCTIONS:
            if self.peek().kind in {"number", "open"}:
                raise Unreadable("where the argument of a function ends")
            argument = Apply("*", (argument, self._factor()))
        if self.peek() == Token("sign", "/"):
            raise Unreadable("where the argument of a function ends")
        return argument

    def matrix(self) -> Expression:
        """Read the rows of an environment."""
        name = self.spelling()[1:-1].strip()
        if name not in _MATRICES:
            raise Unreadable(f"the environment {name!r}")
        if name == "array":
            self.spelling()
        rows: list[list[Expression]] = [[]]
        while not self.take("command", r"\end"):
            if rows[-1] and (self.take("command", r"\\") or self.take("command", r"\cr")):
                rows.append([])
                continue
            if rows[-1]:
                self.expect("sign", "&")
            rows[-1].append(self.sum())
        if self.spelling()[1:-1].strip() != name:
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
