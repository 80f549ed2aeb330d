"""Finding the program in an answer."""

import re
import textwrap
from collections.abc import Iterable

_FENCE = "```"


def last_program(text: str, names: Iterable[str] = ()) -> str | None:
    """Return the last block between fences that defines one of ``names``, or the last block of all; None without one.

    A block begins at a line that starts with three backticks, and ends at the next that consists of them. One that
    never ends is no block, and neither is code without fences. A block within a list loses its indentation.
    """
    blocks = _blocks(text)
    defining = [block for block in blocks if any(defines(block, name) for name in names)]
    return defining[-1] if defining else blocks[-1] if blocks else None


def defines(program: str, name: str) -> bool:
    """Tell whether a program has a function, class or variable of this name at its top level, going by its lines."""
    return re.search(rf"^((async\s+)?def|class)\s+{name}\b|^{name}\s*[:=]", program, flags=re.MULTILINE) is not None


def as_body(program: str) -> str:
    """Return lines as the body of a function."""
    indented = program.startswith((" ", "\t"))
    return program if indented else textwrap.indent(program, "    ")


def _blocks(text: str) -> list[str]:
    blocks: list[str] = []
    lines: list[str] | None = None
    indentation = ""
    for line in text.splitlines():
        bare = line.strip()
        if lines is None and bare.startswith(_FENCE):
            lines, indentation = [], line[: len(line) - len(line.lstrip())]
        elif lines is not None and bare == _FENCE:
            blocks.append("\n".join(lines) + "\n")
            lines = None
        elif lines is not None:
            lines.append(line.removeprefix(indentation))
    return blocks
