"""The brackets in a sequence of tokens: partners, and the parts between separators outside brackets."""

from collections.abc import Callable, Sequence

from quantguard.scorers._tokens import Token, Unreadable


def unwrapped(found: Sequence[Token]) -> Sequence[Token]:
    """Remove TeX braces that enclose all of the tokens."""
    while len(found) > 2 and found[0].text == "{" and found[0].kind == "brace" and partner(found, 0) == len(found) - 1:
        found = found[1:-1]
    return found


def partner(found: Sequence[Token], start: int) -> int:
    """Return the index of the closing bracket of an opening one; raise Unreadable if there is none."""
    depth = 0
    for position in range(start, len(found)):
        depth += _step(found[position])
        if depth == 0:
            return position
    raise Unreadable("a bracket without a partner")


def split(found: Sequence[Token], at: Callable[[Token], bool]) -> tuple[list[Sequence[Token]], list[Token]]:
    """Split at the tokens outside brackets for which ``at`` holds; return the parts, and those tokens."""
    parts: list[Sequence[Token]] = []
    between: list[Token] = []
    depth = start = environments = 0
    for position, token in enumerate(found):
        depth += _step(token)
        environments += (token.text == r"\begin") - (token.text == r"\end")
        if depth == 0 and not environments and at(token):
            parts.append(found[start:position])
            between.append(token)
            start = position + 1
    return [*parts, found[start:]], between


def _step(token: Token) -> int:
    opens = token.kind == "open" or token == Token("brace", "{")
    closes = token.kind == "close" or token == Token("brace", "}")
    return opens - closes
