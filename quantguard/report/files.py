"""A report folder: ``report.html`` for people, ``summary.md`` for a pull request, ``results.json`` with everything."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from quantguard.baselines.survey import Notice
from quantguard.errors import RecordError
from quantguard.gates import GateResult
from quantguard.records import from_json, to_json
from quantguard.records.files import parse_json, read_text, write_together
from quantguard.records.sealed_file import seal, unseal
from quantguard.report import page
from quantguard.report.gathering import Entry, gather
from quantguard.report.markdown import markdown

RESULTS, SUMMARY, PAGE = "results.json", "summary.md", "report.html"


def write_all(folder: pathlib.Path, results: Sequence[tuple[str, GateResult]], notices: Sequence[Notice] = ()) -> None:
    """Write the files, making the folder; ``notices`` are what is to be said of stored baselines."""
    report = gather(results, notices)
    gates = ",\n".join(json.dumps(_table(entry), ensure_ascii=False) for entry in report.entries)
    said = json.dumps(to_json(report.notices), ensure_ascii=False)
    write_together(
        {
            folder / RESULTS: f'{{"baselines": {said},\n"gates": [\n{gates}\n]}}\n',
            folder / SUMMARY: markdown(report),
            folder / PAGE: page.html(report),
        }
    )


def foreign(folder: pathlib.Path) -> pathlib.Path | None:
    """Return a file that a report would overwrite and that none has made, or None."""
    try:
        _rows(parse_json(read_text(folder / RESULTS)))
    except RecordError:
        return next((path for name in (RESULTS, SUMMARY, PAGE) if os.path.lexists(path := folder / name)), None)
    return None


def read_results(path: pathlib.Path) -> tuple[GateResult, ...]:
    """Read what gates found; raise RecordError for a file that is no report's, or was edited."""
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
    fields = {field.name for field in dataclasses.fields(GateResult)}
    return from_json(GateResult, {key: value for key, value in unseal(row).items() if key in fields})


def _table(entry: Entry) -> dict[str, Any]:
    """Return a result with the ids of what it lost and gained, and the history of its baseline."""
    table = {
        "test": entry.test,
        "outcome": entry.result.label,
        "lost": [[flip.after.sample_id, flip.after.epoch] for flip in entry.lost],
        "gained": [[flip.after.sample_id, flip.after.epoch] for flip in entry.gained],
        "history": [point._asdict() for point in entry.history],
        **to_json(entry.result),
    }
    return seal(table)
