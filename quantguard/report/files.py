"""A report folder: ``report.html`` for people, ``summary.md`` for a pull request, ``results.json`` with everything."""

import json
import pathlib
from collections.abc import Sequence

from quantguard.gates import GateResult
from quantguard.records import to_json
from quantguard.report import page
from quantguard.report.gathering import Entry, gather
from quantguard.report.markdown import markdown


def write_all(folder: pathlib.Path, results: Sequence[tuple[str, GateResult]]) -> None:
    """Write the files, making the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    report = gather(results)
    lines = ",\n".join(json.dumps(_table(entry), ensure_ascii=False) for entry in report.entries)
    # Half of a character, which a model can write, is no UTF-8; the escape of it is JSON.
    (folder / "results.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8", errors="backslashreplace")
    (folder / "summary.md").write_text(markdown(report), encoding="utf-8")
    (folder / "report.html").write_text(page.html(report), encoding="utf-8")


def _table(entry: Entry) -> dict[str, object]:
    """Return a result with the ids of what it lost and gained, and the history of its baseline."""
    return {
        "test": entry.test,
        "outcome": entry.result.label,
        "lost": [[flip.after.sample_id, flip.after.epoch] for flip in entry.lost],
        "gained": [[flip.after.sample_id, flip.after.epoch] for flip in entry.gained],
        "history": [point._asdict() for point in entry.history],
        **to_json(entry.result),
    }
