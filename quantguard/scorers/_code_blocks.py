"""The code blocks of an answer, and the program among them: fences as CommonMark has them, and as models write them.

A fence is three or more backticks or tildes at the start of a line, in a list or a quotation as well; it may follow
text where it names Python. A block ends at a fence as long as its own that is not within a string of the program. What
follows on that line is text, or begins the next block where it is a language. Code may stand before the closing fence,
and the last block of an answer that ended may lack one.
"""

import dataclasses
import itertools
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

# What a block stands in: quotations, and the mark of a list.
_CONTAINER = r"(?P<before>[ \t]*(?:>[ \t]?)*[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?)"
_OPENING = re.compile(rf"{_CONTAINER}(?P<fence>`{{3,}}(?=[^`]*$)|~{{3,}})(?P<label>.*)")
_OPENING_BEHIND_TEXT = re.compile(
    r"(?P<before>)[^`~]*[^`~\s][ \t]*(?P<fence>`{3,})(?P<label>py\w*[ \t]*)", re.IGNORECASE
)
_CLOSING = re.compile(r"(?P<before>[ \t>]*)(?P<fence>`{3,}|~{3,})(?P<label>.*)")
_CODE_BEFORE_FENCE = re.compile(r"(?P<code>[^`]*[^`\s])[ \t]*(?P<fence>`{3,})(?P<label>)[ \t]*")
# The first word of a label, in braces as well: ``{.python .numberLines}``.
_LANGUAGE = re.compile(r"[\s{.]*([\w+#-]*)")
# A language and nothing more than attributes.
_LANGUAGE_ALONE = re.compile(r"[ \t]*\{?\.?[\w+#-]+\}?(?:[ \t]+[\w-]+=.*|[ \t]*\{.*\})?[ \t]*")
# Comments and strings; what is not closed reaches to the end of its line, or of the text.
_LITERAL = re.compile(
    r"""#[^\n]*|(?P<triple>'{3}|"{3})(?:\\.|(?!(?P=triple)).)*(?P<closed>(?P=triple))?"""
    r"""|'(?:\\.|[^'\\\n])*'?|"(?:\\.|[^"\\\n])*"?""",
    re.DOTALL,
)
_PRINTING = re.compile(r"\b(?:print|write|writelines)\s*[(,)]")
_SESSION = re.compile(r"\s*>>> ")
_PYTHON = ("py", "ipython", "cython", "sage")
# Labels of what is no program in Python: other languages, and what programs read and print.
_FOREIGN_LABELS = """
text txt plaintext plain output out input in stdin stdout console terminal shell sh bash zsh fish cmd bat batch
powershell ps1 pycon pytb traceback log json jsonc yaml yml toml ini xml html css csv tsv md markdown latex tex math
diff patch sql dockerfile makefile mermaid dot pseudocode algorithm c cpp c++ cc h hpp java kotlin scala javascript js
jsx typescript ts tsx go golang rust rs swift ruby rb php perl pl r julia jl haskell hs lua ocaml csharp c# cs fsharp f#
dart elixir erlang clojure lisp scheme prolog fortran pascal matlab octave asm nim zig
"""
_FOREIGN = frozenset(_FOREIGN_LABELS.split())
# Their content may be blocks.
_WRITING = frozenset({"md", "markdown"})
# So much deeper than its opening, a fence is part of what it stands in.
_INDENTATION = 4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """A code block: its language, in lower case, and its text."""

    language: str
    program: str

    @property
    def rank(self) -> int:
        """How likely it is the program: 2 if labelled as Python, 0 if labelled otherwise or a session, else 1."""
        if self.language in _FOREIGN or _SESSION.match(self.program):
            return 0
        return 2 if self.language.startswith(_PYTHON) else 1


class _End(NamedTuple):
    """The number of the line that ends a block, the code that stands there, and the fence that begins the next."""

    line: int
    code: str = ""
    opening: re.Match[str] | None = None


def last_program(text: str, names: Iterable[str] = ()) -> str | None:
    """Return the last block labelled as Python, or else the last one without the label of something else.

    If some blocks define one of ``names``, only those count, whatever their labels. Without names the block is a whole
    program, and one that prints is preferred to one that does not, such as an example of the input. None if no block
    can be a program.
    """
    wanted = list(names)
    blocks = list(_blocks(text))
    defining = [block for block in blocks if any(defines(block.program, name) for name in wanted)]
    highest = max((block.rank for block in defining or blocks), default=0)
    candidates = [block.program for block in defining or blocks if block.rank == highest]
    if not wanted:
        candidates = [program for program in candidates if _PRINTING.search(program)] or candidates
    return candidates[-1] if highest or defining else None


def defines(program: str, name: str) -> bool:
    """Tell by its lines whether a program defines a function, class or variable of this name at the top level."""
    return re.search(rf"^((async\s+)?def|class)\s+{name}\b|^{name}\s*[:=]", program, flags=re.MULTILINE) is not None


def as_body(program: str) -> str:
    """Indent lines as the body of a function, unless they are indented already."""
    indented = program.startswith((" ", "\t"))
    return program if indented else textwrap.indent(program, "    ")


def _blocks(text: str, *, inner: bool = False) -> Iterator[_Block]:
    """Yield the non-empty blocks of a text; an ``inner`` text is itself the content of a block."""
    # Lines end as in Python's source; str.splitlines also splits at characters that a string may contain.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    starts = [0, *itertools.accumulate(len(line) + 1 for line in lines)]
    place, opening = 0, None
    while place < len(lines):
        if opening is None:
            opening, place = _opening(lines[place]), place + 1
            continue
        end = _end(text, lines, starts, place, opening)
        content = [_unwrapped(line, opening) for line in [*lines[place : end.line], *([end.code] if end.code else [])]]
        block = _Block(language=_language(opening), program="\n".join(content) + "\n")
        within = [] if inner or not _may_hold_blocks(block, opening) else list(_blocks(block.program, inner=True))
        yield from within or ([block] if block.program.strip() else [])
        place, opening = end.line + 1, end.opening


def _opening(line: str) -> re.Match[str] | None:
    return _OPENING.fullmatch(line) or _OPENING_BEHIND_TEXT.fullmatch(line) if _has_fence(line) else None


def _has_fence(line: str) -> bool:
    return "```" in line or "~~~" in line


def _end(text: str, lines: Sequence[str], starts: Sequence[int], first: int, opening: re.Match[str]) -> _End:
    """Return the end of the block whose content starts at line ``first``.

    That is the first fence outside strings that is as long as the opening one and no deeper; or else any fence outside
    strings; or else one in a string that never ends; or else the end of the text.
    """
    literals = None if _language(opening) in _FOREIGN else _Literals(text, starts[first])
    others: dict[str, _End] = {}
    for number in range(first, len(lines)):
        found = _closing(lines[number], opening)
        if found is None:
            continue
        end = _End(number, found.groupdict().get("code") or "", found if _begins_block(found["label"]) else None)
        covering = literals and literals.at(starts[number] + found.start("fence"))
        proper = _is_proper(found, opening)
        if proper and not covering:
            return end
        if not covering:
            others.setdefault("short or deep", end)
        elif proper and covering["triple"] and not covering["closed"]:
            others.setdefault("in a string", end)
    return others.get("short or deep") or others.get("in a string") or _End(len(lines))


def _closing(line: str, opening: re.Match[str]) -> re.Match[str] | None:
    """Return a fence of the kind of the opening one, at the start of a line or behind code."""
    if not _has_fence(line):
        return None
    found = _CLOSING.fullmatch(line) or _CODE_BEFORE_FENCE.fullmatch(line)
    return found if found is not None and found["fence"][0] == opening["fence"][0] else None


def _is_proper(closing: re.Match[str], opening: re.Match[str]) -> bool:
    is_long = len(closing["fence"]) >= len(opening["fence"])
    depths = [len(found.groupdict().get("before", "").expandtabs(_INDENTATION)) for found in (closing, opening)]
    return is_long and depths[0] < depths[1] + _INDENTATION


def _language(opening: re.Match[str]) -> str:
    found = _LANGUAGE.match(opening["label"])
    return found[1].lower() if found is not None else ""


def _begins_block(label: str) -> bool:
    """Tell whether the text after a closing fence is the label of another block."""
    found = _LANGUAGE.match(label) if _LANGUAGE_ALONE.fullmatch(label) else None
    return found is not None and (found[1].lower() in _FOREIGN or found[1].lower().startswith(_PYTHON))


def _may_hold_blocks(block: _Block, opening: re.Match[str]) -> bool:
    """Tell whether a block is prose with blocks in it: by its label, or by a long fence with fences inside."""
    if block.language or len(opening["fence"]) == len("```"):
        return block.language in _WRITING
    literals = _Literals(block.program, 0)
    fences = re.finditer(r"^[ \t]*(?:```|~~~)", block.program, flags=re.MULTILINE)
    return any(literals.at(fence.end() - 1) is None for fence in fences)


def _unwrapped(line: str, opening: re.Match[str]) -> str:
    """Remove from a line the quotation marks and indentation that its block stands in."""
    *quotations, indentation = opening["before"].split(">")
    for _ in quotations:
        line = re.sub(r"^[ \t]*>[ \t]?", "", line)
    width = len(indentation) - (len(quotations) > 0 and indentation.startswith((" ", "\t")))
    return line[min(width, len(line) - len(line.lstrip(" \t"))) :]


class _Literals:
    """The comments and strings of a text from a position on; positions have to be asked for in ascending order."""

    def __init__(self, text: str, start: int) -> None:
        self._text = text
        # The scan has come this far: to the end of the latest literal, or to the latest position that was asked for.
        self._known = start
        self._latest: re.Match[str] | None = None

    def at(self, place: int) -> re.Match[str] | None:
        """Return the comment or string that contains a position, or None."""
        while self._known < place:
            begins = _LITERAL.search(self._text, self._known, place)
            if begins is None:
                self._known = place
                return None
            self._latest = _LITERAL.match(self._text, begins.start())
            assert self._latest is not None
            self._known = self._latest.end()
        return self._latest if self._latest is not None and self._latest.end() > place else None
