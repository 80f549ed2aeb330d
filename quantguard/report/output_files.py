"""The files of a report folder: ``report.html`` (the page), ``summary.md`` (a pull request), ``results.json`` (all)."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from quantguard.baselines.survey import Notice
from quantguard.benchmarks import Benchmarks
from quantguard.errors import RecordError
from quantguard.gates import GateResult
from quantguard.records import from_json, to_json
from quantguard.records.files import parse_json, read_text, write_together
from quantguard.records.sealed_file import seal, unseal
from quantguard.report import page
from quantguard.report.contents import Entry, collect_report
from quantguard.report.markdown import markdown

RESULTS, SUMMARY, PAGE = "results.json", "summary.md", "report.html"


def write_all(
    folder: pathlib.Path,
    results: Sequence[tuple[str, GateResult]],
    notices: Sequence[Notice] = (),
    benchmarks: Benchmarks | None = None,
) -> None:
    """Write the report's files, creating the folder.

    ``notices`` are remarks on stored baselines, ``benchmarks`` those that the run has read already.
    """
    report = collect_report(results, notices, benchmarks)
    gates = ",\n".join(json.dumps(_table(entry), ensure_ascii=False) for entry in report.entries)
    baselines = json.dumps(to_json(report.notices), ensure_ascii=False)
    write_together(
        {
            folder / RESULTS: f'{{"baselines": {baselines},\n"gates": [\n{gates}\n]}}\n',
            folder / SUMMARY: markdown(report),
            folder / PAGE: page.html(report),
        }
    )


def foreign_file(folder: pathlib.Path) -> pathlib.Path | None:
    """Return a file that a report would overwrite although quantguard did not write it, or None.

    A readable ``results.json`` marks the folder as a report's own.
    """
    try:
        _rows(parse_json(read_text(folder / RESULTS)))
    except RecordError:
        return next((path for name in (RESULTS, SUMMARY, PAGE) if os.path.lexists(path := folder / name)), None)
    return None


def read_results(path: pathlib.Path) -> tuple[GateResult, ...]:
    """Read the gate results of a report; raise RecordError if the file is not a report's or was edited."""
    try:
        return tuple(_result(row) for row in _rows(parse_json(read_text(path))))
    except RecordError as error:
        raise RecordError(
            f"{path} is no {RESULTS} of a report: {error}. Make one with: pytest --quantguard --quantguard-report=DIR"
        ) from error


def _rows(table: Any) -> list[Any]:
    if not isinstance(table, dict) or not isinstance(table.get("gates"), list):
        raise RecordError("it has no list of gates")
    rows: list[Any] = table["gates"]
    return rows


def _result(row: Any) -> GateResult:
    # A row holds more than the result, such as the test and the lost items: see _table.
    fields = {field.name for field in dataclasses.fields(GateResult)}
    return from_json(GateResult, {key: value for key, value in unseal(row).items() if key in fields})


def _table(entry: Entry) -> dict[str, Any]:
    """Return a result as JSON values, with its test, its lost and gained items and its baseline's history."""
    table = {
        "test": entry.test,
        "outcome": entry.result.label,
        "lost": [[flip.after.sample_id, flip.after.epoch] for flip in entry.lost],
        "gained": [[flip.after.sample_id, flip.after.epoch] for flip in entry.gained],
        "history": [point._asdict() for point in entry.history],
        **to_json(entry.result),
    }
    return seal(table)
