r"""Numbers that are written out: ``-1,234.50``, ``-$3``, ``\$-3``, ``.5``, ``1e3``; what is anything else is none.

A comma sets groups of three apart or the text is no number: ``12,5`` and ``1,2,3`` are none, nor is ``1_000``.
"""

import re
from fractions import Fraction

# Largest power of ten of a numeral, so that no exponent fills the memory.
_LARGEST_EXPONENT = 10_000
# The forms of ASCII in East Asian type, and signs of typesetting.
_PLAIN = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    0x3000: " ",
    0x2212: "-",
    0xFE63: "-",
    0xFFE5: "¥",
    0x00A0: " ",
    0x202F: " ",
    0x2009: " ",
}
_MATH_MODES = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_CURRENCY = r"(?:\\?\$|€|£|¥)"
_NUMERAL = re.compile(
    rf"(?P<sign>[-+]?)\s*{_CURRENCY}?\s*(?P<inner>(?<![-+])[-+]?|(?<=[$€£¥])[-+]?)"
    r"(?P<whole>[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]*)(?:\.(?P<decimals>[0-9]*))?(?:[eE](?P<exponent>[-+]?[0-9]{1,9}))?"
)


def plain(text: str) -> str:
    """Return a text with ASCII for full-width characters, the minus of typesetting and spaces that do not break.

    Not by Unicode's compatibility forms, which turn 10² into 102.
    """
    return text.translate(_PLAIN)


def currency(text: str) -> str:
    """Return the currency sign of a number, or nothing; the dollars of math mode are none."""
    return "".join(re.findall("[$€£¥]", _without_math_mode(plain(text).strip())))


def number(text: str) -> Fraction | None:
    """Return the number that a whole text is, exactly, with a sign and a currency sign in either order, or None."""
    bare = _without_math_mode(plain(text).strip())
    match = _NUMERAL.fullmatch(bare)
    if match is None or not (match["whole"] or match["decimals"]) or (match["sign"] and match["inner"]):
        return None
    exponent = int(match["exponent"] or 0)
    if abs(exponent) > _LARGEST_EXPONENT or len(bare) > _LARGEST_EXPONENT:
        return None
    decimals = match["decimals"] or ""
    magnitude = Fraction(_integer(match["whole"].replace(",", "") + decimals), 10 ** len(decimals))
    value = magnitude * Fraction(10) ** exponent
    return -value if "-" in (match["sign"], match["inner"]) else value


def _without_math_mode(text: str) -> str:
    for opens, closes in _MATH_MODES:
        if len(text) > len(opens) + len(closes) and text.startswith(opens) and text.endswith(closes):
            return text[len(opens) : -len(closes)].strip()
    return text


def _integer(digits: str) -> int:
    """Return a row of digits as an integer, in parts, since Python refuses more than 4,300 at once."""
    value = 0
    for start in range(0, len(digits), 4000):
        part = digits[start : start + 4000]
        value = value * 10 ** len(part) + int(part)
    return value
