"""The verdicts for a pull request: a short table, and folded what is behind it."""

import html

from quantguard.report import measures, text, wording
from quantguard.report.gathering import Entry, Flip, Report
from quantguard.report.several import several_lines

# A comment on GitHub holds 65,536 characters.
_MOST_FLIPS = 20
_LONGEST = 60_000
_SIGNS = {ord(sign): f"&#{ord(sign)};" for sign in "|`*_[]@~#"}


def markdown(report: Report) -> str:
    """Return the summary."""
    head = ["| outcome | gate | model | what | value | asked | why |", "|---|---|---|---|---|---|---|"]
    rows = [_row(entry) for entry in report.entries]
    folded = [line for entry in report.entries if entry.flips or entry.result.notes for line in _details(entry)]
    results = [entry.result for entry in report.entries]
    said = [*several_lines(results), *(notice.line for notice in report.notices)]
    together = [f"* {_cell(line)}" for line in said]
    closing = [*together, *([""] if together else []), text.closing_line(results)]
    whole = "\n".join([*head, *rows, "", *closing, *folded]) + "\n"
    if len(whole) <= _LONGEST:
        return whole
    return "\n".join([*head, *rows, "", *closing, "", "The items are in report.html."])[:_LONGEST] + "\n"


def _row(entry: Entry) -> str:
    result = entry.result
    value = result.verdict.delta
    cells = [
        result.label,
        result.gate,
        f"{result.model}, {result.recipe}",
        f"{result.subject} ({result.platform})",
        f"{measures.measure_of(result).write(value)} ({measures.interval(result)})" if value is not None else "–",
        measures.worded_limit(result),
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
        f"<details><summary>{_cell(f'{result.gate}: {result.subject}, {result.model}, {result.recipe}')}</summary>",
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
    """Return a text as code, within which nothing is a link, a mention or markup."""
    return f"<code>{_cell(written, 60)}</code>"


def _cell(written: str, limit: int = 600) -> str:
    """Return a text for one line of a table, its signs of Markdown and HTML spelled out."""
    return html.escape(wording.in_one_line(written, limit), quote=False).translate(_SIGNS)
