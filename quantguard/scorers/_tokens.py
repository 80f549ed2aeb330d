"""The tokens of an answer: LaTeX, plain ASCII and words, with numerals told from lists."""

# ruff: noqa: RUF001 - the signs of typesetting are what it reads

import re
from fractions import Fraction
from typing import NamedTuple

from quantguard.scorers._numerals import number, plain

# An answer of more is a text that somebody boxed.
_LONGEST, _DEEPEST = 1000, 40


class Unreadable(Exception):  # noqa: N818 - it says what an answer is
    """An answer, or a part of it, that cannot be read without a guess."""


class Token(NamedTuple):
    """A piece of an answer.

    ``kind`` is number, letter, word, command, open, close, brace (one of TeX's), separator, money or sign; ``text`` is
    its spelling, the same for all spellings of one thing.
    """

    kind: str
    text: str


_UNICODE = {
    "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": r"\div ", "π": r"\pi ", "∞": r"\infty ",
    "√": r"\sqrt ", "°": r"^\circ ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∈": r"\in ",
    "±": r"\pm ", "∓": r"\mp ", "…": r"\ldots ", "⋯": r"\ldots ", "⟨": r"\langle ", "⟩": r"\rangle ",
    "∅": r"\emptyset ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "λ": r"\lambda ",
    "μ": r"\mu ", "φ": r"\phi ", "ω": r"\omega ", "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}",
    "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "ℝ": r"\mathbb{R}", "’": "'", "“": '"', "”": '"',
}  # fmt: skip
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
# Commands that only change how something looks.
_LOOKS = re.compile(
    r"\\(?:left|right|[Bb]ig{1,2}[lrm]?|displaystyle|textstyle|limits|nolimits|qquad|quad|hspace\{[^{}]*\}|phantom\{\})"
    r"(?![A-Za-z])|(?<!\\)\\[;: ]|(?<!\\)~"
)
# A letter in bold is another symbol, a number in bold is itself.
_BOLD_NUMERAL = re.compile(r"\\(?:mathbf|boldsymbol|bm)\s*\{([^{}A-Za-z\\]*)\}")
_TEXTS = r"(?:text(?:bf|it|rm|normal|sf|tt)?|mbox|hbox|mathrm|mathit|mathsf|operatorname\*?|textup)"
# One and the same thing under several names.
_NAMES = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "leq": "le", "geq": "ge", "leqslant": "le", "geqslant": "ge",
    "lt": "<", "gt": ">", "neq": "ne", "times": "*", "cdot": "*", "ast": "*", "div": "/", "dots": "ldots",
    "cdots": "ldots", "dotsc": "ldots", "dotsb": "ldots", "vdots": "ldots", "degree": "circ", "varnothing": "emptyset",
    "lvert": "|", "rvert": "|", "vert": "|", "mid": "mid", "dbinom": "binom", "tbinom": "binom", "arcsin": "arcsin",
    "varphi": "phi", "varepsilon": "epsilon", "imath": "i", "lbrace": "{", "rbrace": "}", "land": "and", "lor": "or",
    "tg": "tan", "ctg": "cot", "cosec": "csc", "lbrack": "[", "rbrack": "]", "pounds": "£", "euro": "€",
    "textdollar": "$", "space": " ", "thinspace": " ",
}  # fmt: skip
FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp".split()  # noqa: SIM905 - it reads as a list
)
# Words of two letters that are no product, and those that are units behind a number.
_SHORT_WORDS = frozenset("no on is in to of an at it up us we me he go so if as by my do be am pm".split())  # noqa: SIM905
_SHORT_UNITS = frozenset("cm mm km kg mg ml ft lb oz hr".split())  # noqa: SIM905
# Letters that stand for unknowns even in a row of three.
_UNKNOWNS = ({*"xyzw"}, {*"abc"}, {*"pqr"}, {*"kmn"})
_SCANNER = re.compile(
    r"(?P<numeral>[0-9]*\.?[0-9]+(?:\.(?![.0-9]))?)"
    r"|(?P<text>\\" + _TEXTS + r"\s*\{)"
    r"|\\(?P<command>[A-Za-z]+)\s*"
    r"|\\(?P<escaped>[{}$%#&_|\\,!])"
    r"|(?P<letters>[A-Za-z]+(?:'[A-Za-z]+)*)"
    r"|(?P<dots>\.\.+)"
    r"|(?P<space>\s+)"
    r"|(?P<sign>[-+*/^_=<>!|:;,%()\[\]{}$€£¥'&.])",
)
_GROUPS = re.compile(r"[1-9][0-9]{0,2}(?:(?:,|\{,\}|,\\!\s*|\\,|[ ])[0-9]{3})+(?![0-9])")
# What is set apart in TeX, such as 1{,}000, is one numeral between brackets too, where a bare comma separates.
_BRACKETED_GROUPS = re.compile(r"[1-9][0-9]{0,2}(?:(?:\{,\}|,\\!\s*|\\,|[ ])[0-9]{3})+(?![0-9])")
_ROW_OF_COMMAS = re.compile(r"[0-9]+(?:,[0-9]+)+")
_EXPONENT = re.compile(r"[eE][-+]?[0-9]+(?![0-9A-Za-z^_{.])")
_REPEATING = re.compile(r"\\(?:overline|bar)\s*\{([0-9]+)\}")
_OPEN, _CLOSE = {"(": ")", "[": "]", r"\{": r"\}", r"\langle": r"\rangle"}, {")", "]", r"\}", r"\rangle"}


def tokens(text: str) -> list[Token]:
    """Return the tokens of an answer without its box; raise Unreadable for too many, or an unknown sign."""
    if len(text) > _LONGEST:
        raise Unreadable(f"{len(text)} characters")
    found = _Scan(_prepared(text)).run()
    _require_shallow(found)
    return found


def _prepared(text: str) -> str:
    text = re.sub(r"√\s*([0-9]+)", r"\\sqrt{\1}", plain(text).strip())
    for sign, command in _UNICODE.items():
        text = text.replace(sign, command)
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+", lambda match: "^{" + match[0].translate(_SUPERSCRIPTS) + "}", text)
    text = re.sub(r"(?<!\\)\\[()\[\]]", " ", text)
    text = _without_dollars(text)
    text = _LOOKS.sub(" ", _BOLD_NUMERAL.sub(r"{\1}", text))
    text = re.sub(r"(?<![0-9,\\])\\[,!]|(?<!\\)\\[,!](?!\s*[0-9])", " ", text)
    return re.sub(r"(?<![.])[.]$|[,;]$", "", text.strip()).strip()


def _without_dollars(text: str) -> str:
    """Return a text without the marks of math mode; a single dollar before a number is money."""
    count = len(re.findall(r"(?<!\\)\$", text))
    if count % 2 == 0:
        return re.sub(r"(?<!\\)\$", " ", text)
    if count > 1:
        raise Unreadable("an odd number of dollars")
    return re.sub(r"(?<!\\)\$", r"\\$", text)


def _require_shallow(found: list[Token]) -> None:
    depth = 0
    for token in found:
        depth += (token.kind == "open" or token.text == "{") - (token.kind == "close" or token.text == "}")
        if not 0 <= depth <= _DEEPEST:
            raise Unreadable("brackets without a partner, or too many within each other")


class _Scan:
    """A walk over a text that collects its tokens."""

    def __init__(self, text: str, *, in_text: bool = False) -> None:
        self._source, self._in_text = text, in_text
        self._at, self._depth = 0, 0
        self._found: list[Token] = []

    def run(self) -> list[Token]:
        while self._at < len(self._source):
            groups = (_BRACKETED_GROUPS if self._depth else _GROUPS).match(self._source, self._at)
            if groups is not None and not self._is_list(groups):
                self._numeral(groups, re.sub("[^0-9]", "", groups[0]))
                continue
            match = _SCANNER.match(self._source, self._at)
            if match is None or match.lastgroup is None:
                raise Unreadable(f"the sign {self._source[self._at]!r}")
            getattr(self, f"_{match.lastgroup}")(match, match[match.lastgroup])
        return self._found

    def _is_list(self, groups: re.Match[str]) -> bool:
        """Tell whether a comma follows, or was among, groups that are not all of three digits."""
        row = _ROW_OF_COMMAS.match(self._source, self._at)
        return row is not None and row.end() > groups.end()

    def _add(self, kind: str, text: str, end: int) -> None:
        self._found.append(Token(kind, text))
        self._at = end

    def _numeral(self, match: re.Match[str], digits: str) -> None:
        end = match.end()
        if "." not in digits and (decimals := re.compile(r"\.[0-9]+").match(self._source, end)) is not None:
            digits, end = digits + decimals[0], decimals.end()
        if self._found and self._found[-1].kind == "number" and not self._is_argument():
            raise Unreadable("a number behind another")
        if self._depth and re.match("0[0-9]", digits):
            raise Unreadable("a number between brackets that begins with 0: it may be a group of three")
        if (repeating := _REPEATING.match(self._source, end)) is not None and "." in digits:
            self._add("number", str(_repeating(digits, repeating[1])), repeating.end())
            return
        if not self._in_text and (exponent := _EXPONENT.match(self._source, end)) is not None:
            digits, end = digits + exponent[0], exponent.end()
        self._add("number", digits, end)

    def _is_argument(self) -> bool:
        r"""Tell whether the last numeral is what a macro takes, as in \log_2 8 or \frac 3 4."""
        return self._found[-2:-1] in ([Token("sign", "_")], [Token("command", r"\frac")])

    def _text_block(self, start: int) -> int:
        depth = 1
        for position in range(start, len(self._source)):
            depth += {"{": 1, "}": -1}.get(self._source[position], 0)
            if depth == 0:
                return position
        raise Unreadable("a text that never ends")

    def _text(self, match: re.Match[str], _opening: str) -> None:
        end = self._text_block(match.end())
        content = re.sub(r"(?<=[A-Za-z])\.\s*$", "", self._source[match.end() : end])
        if "^" in content or "\\" in content.replace("\\ ", "") or "_" in content:
            raise Unreadable("mathematics within a text")
        inner = _Scan(content, in_text=True)
        inner._depth = self._depth
        self._found.extend(inner.run())
        self._at = end + 1

    def _command(self, match: re.Match[str], name: str) -> None:
        name = _NAMES.get(name, name)
        if name == "begin":
            self._add("command", r"\begin", match.end())
        elif name in {"<", ">", "*", "/", "|"}:
            self._add("sign", name, match.end())
        elif name in {"and", "or"}:
            self._add("separator", name, match.end())
        elif name in {"(", "[", "{", "}", "]"} or name in {"langle", "rangle"}:
            self._bracket(name if name in "[]" else rf"\{name}", match.end())
        elif name in {"£", "€", "$"}:
            self._add("money", name, match.end())
        elif name == " ":
            self._at = match.end()
        else:
            self._add("command", rf"\{name}", match.end())

    def _bracket(self, text: str, end: int) -> None:
        self._depth += (text in _OPEN) - (text in _CLOSE)
        self._add("open" if text in _OPEN else "close", text, end)

    def _escaped(self, match: re.Match[str], sign: str) -> None:
        if sign in "{}":
            self._bracket(rf"\{sign}", match.end())
        elif sign == "$":
            self._add("money", "$", match.end())
        elif sign == "%":
            self._add("command", r"\%", match.end())
        elif sign in ",!":
            self._at = match.end()
        elif sign == "\\":
            spacing = re.compile(r"\s*\[\s*-?[0-9.]+\s*[a-z]{2}\s*\]").match(self._source, match.end())
            self._add("command", r"\\", spacing.end() if spacing else match.end())
        elif sign == "|":
            self._add("command", r"\|", match.end())
        else:
            raise Unreadable(f"the sign {sign!r}")

    def _letters(self, match: re.Match[str], letters: str) -> None:
        low, end = letters.lower(), match.end()
        behind_number = bool(self._found) and self._found[-1].kind == "number"
        if low in {"or", "and"}:
            self._add("separator", low, end)
        elif self._in_text:
            self._add("word", letters, end)
        elif low in FUNCTIONS or letters in {"sqrt", "pi", "infty"}:
            self._add("command", rf"\{low}", end)
        elif low in {"infinity", "inf"}:
            self._add("command", r"\infty", end)
        elif self._is_word(letters, behind_number=behind_number):
            self._add("word", letters, end)
        else:
            self._found.extend(Token("letter", letter) for letter in letters)
            self._at = end

    def _is_word(self, letters: str, *, behind_number: bool) -> bool:
        if len(letters) == 1:
            return False
        if len(letters) == 2:
            return letters.lower() in _SHORT_WORDS or (behind_number and letters in _SHORT_UNITS)
        return not any(set(letters) <= unknowns for unknowns in _UNKNOWNS)

    def _dots(self, match: re.Match[str], _dots: str) -> None:
        self._add("command", r"\ldots", match.end())

    def _space(self, match: re.Match[str], _space: str) -> None:
        self._at = match.end()

    def _sign(self, match: re.Match[str], sign: str) -> None:
        end = match.end()
        if sign in "()[]":
            self._bracket(sign, end)
        elif sign in "{}":
            self._add("brace", sign, end)
        elif sign in ",;":
            self._add("separator", sign, end)
        elif sign in "€£¥$":
            self._add("money", sign, end)
        elif sign == "%":
            self._add("command", r"\%", end)
        elif sign == "*" and self._source.startswith("*", end):
            self._add("sign", "^", end + 1)
        elif sign in "<>" and self._source.startswith("=", end):
            self._add("command", {"<": r"\le", ">": r"\ge"}[sign], end + 1)
        else:
            self._add("sign", sign, end)


def _repeating(digits: str, cycle: str) -> Fraction:
    """Return a decimal whose last digits repeat without end."""
    finite = number(digits if digits != "." else "0")
    if finite is None:
        raise Unreadable(f"the numeral {digits!r}")
    decimals = len(digits.partition(".")[2])
    return finite + Fraction(int(cycle), (10 ** len(cycle) - 1) * 10**decimals)
