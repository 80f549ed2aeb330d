"""A report folder: ``results.json`` with everything, ``summary.md`` for a pull request."""

import json
import pathlib
from collections.abc import Sequence

from quantguard.gates import GateResult
from quantguard.records import to_json
from quantguard.report import text
from quantguard.report.several import several_lines


def write_all(folder: pathlib.Path, results: Sequence[tuple[str, GateResult]]) -> None:
    """Write both files, making the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = [{"test": nodeid, **to_json(result)} for nodeid, result in results]
    (folder / "results.json").write_text(json.dumps(tables, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "summary.md").write_text(markdown(results), encoding="utf-8")


def markdown(results: Sequence[tuple[str, GateResult]]) -> str:
    """Return a table of the verdicts."""
    rows = [
        f"| {result.label} | {result.gate} | {result.model}, {result.recipe} | {result.subject} |"
        f" {result.verdict.reason.replace('|', '/')} |"
        for _, result in results
    ]
    head = ["| outcome | gate | model | what | why |", "|---|---|---|---|---|"]
    verdicts = [result for _, result in results]
    together = [line.replace("|", "/") + "\n" for line in several_lines(verdicts)]
    return "\n".join([*head, *rows, "", *together, text.closing_line(verdicts)]) + "\n"
