"""The verdicts as Markdown for a pull request: a short table, and the details folded below it."""

import html
import itertools
from collections.abc import Sequence

from quantguard.report import number_format, plain_text, visible_text
from quantguard.report.contents import Entry, Flip, Report
from quantguard.report.multiple_testing import multiple_testing_lines

_MOST_FLIPS = 20
# A comment on GitHub holds 65,536 characters; the rest is left for what its author adds.
_LONGEST = 60_000
_HEAD = ("| outcome | gate | model | what | value | asked | why |", "|---|---|---|---|---|---|---|")
_SIGNS = {ord(sign): f"&#{ord(sign)};" for sign in "|`*_[]@~#"}


def markdown(report: Report) -> str:
    """Write the summary, counts first; where it is too long, failed gates come before passed ones."""
    remarks = [
        *multiple_testing_lines([entry.result for entry in report.entries]),
        *(notice.line for notice in report.notices),
    ]
    bullets = [f"* {_cell(line)}" for line in remarks]
    folded = [line for entry in report.entries if entry.flips or entry.result.notes for line in _details(entry)]
    head = [plain_text.closing_line(report.results), "", *_HEAD]
    whole = "\n".join([*head, *map(_row, report.entries), "", *bullets, *folded]) + "\n"
    if len(whole) <= _LONGEST:
        return whole
    worst_first = sorted(report.entries, key=lambda entry: -plain_text.LABELS.index(entry.result.label))
    rows = _fitting([_row(entry) for entry in worst_first])
    left_out = f"{len(report.entries) - len(rows)} rows and the items are in report.html."
    return "\n".join([*head, *rows, "", left_out, "", *_fitting(bullets, room=_LONGEST // 6)]) + "\n"


def _fitting(lines: Sequence[str], *, room: int = 2 * _LONGEST // 3) -> list[str]:
    """Return the leading lines that fit into ``room`` characters."""
    lengths = itertools.accumulate(len(line) + 1 for line in lines)
    return [line for line, length in zip(lines, lengths, strict=True) if length <= room]


def _row(entry: Entry) -> str:
    result = entry.result
    value = result.verdict.delta
    cells = [
        result.label,
        result.gate,
        "–" if result.of_test else f"{result.model}, {result.recipe}",
        result.subject if result.of_test else f"{result.subject} ({result.platform})",
        f"{number_format.format_of(result).write(value)} ({number_format.interval_text(result)})"
        if value is not None
        else "–",
        number_format.limit_text(result),
        result.verdict.reason,
    ]
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _details(entry: Entry) -> list[str]:
    result = entry.result
    shown = [*entry.lost, *entry.gained][:_MOST_FLIPS]
    more = len(entry.flips) - len(shown)
    against = result.against or "the other run"
    return [
        "",
        f"<details><summary>{_cell(plain_text.title(result))}</summary>",
        "",
        *(f"* {_cell(note, 500)}" for note in result.notes),
        *([f"* {len(entry.lost)} lost, {len(entry.gained)} gained against {_cell(against)}"] if entry.flips else []),
        *(f"  * {_flip(flip)}" for flip in shown),
        *([f"  * and {more} more, in results.json"] if more > 0 else []),
        "",
        "</details>",
    ]


def _flip(flip: Flip) -> str:
    answers = [_code(score.answer or score.explanation) for score in (flip.before, flip.after)]
    target = f"; the target is {_code(flip.sample.target)}" if flip.sample and flip.sample.target is not None else ""
    change = "lost" if flip.lost else "gained"
    return f"{change} {_code(flip.after.sample_id)}: {answers[0]} before, {answers[1]} now{target}"


def _code(written: str) -> str:
    """Format a text as code, where nothing in it becomes a link, a mention or markup."""
    return f"<code>{_cell(written, 60)}</code>"


def _cell(written: str, limit: int = 600) -> str:
    """Escape a text for one table cell: one line, with Markdown and HTML characters as entities."""
    return html.escape(visible_text.in_one_line(written, limit), quote=False).translate(_SIGNS)
