"""Reading and writing baseline files.

Keys are sorted and every item is a line of its own, so that a difference reads well, and branches that update different
gates never meet in one file. ``sha256`` covers the rest of
the file: an edit by hand is noticed. A write goes to a temporary file in the same folder and is then moved over the
old one, so that at any moment the file is either old or new.
"""

import json
import os
import pathlib
import re
import tempfile
from typing import Any, TypeVar

from quantguard.baselines.layer_profile import LayerProfile
from quantguard.baselines.record import Baseline
from quantguard.errors import BaselineError, RecordError
from quantguard.records import from_json, to_json
from quantguard.records.codec import digest

# What is stored: outcomes item by item, or layer by layer.
StoredT = TypeVar("StoredT", Baseline, LayerProfile)
UPDATE_HINT = "Type: pytest --quantguard --quantguard-update={}"
_MEND = f"Restore it from version control, or measure it anew. {UPDATE_HINT.format('all')}"


def baseline_path(root: pathlib.Path, *, platform: str, model: str, recipe: str, benchmark: str) -> pathlib.Path:
    """Return where the baseline of a gate belongs: ``<root>/<platform>/<model>/<recipe>/<benchmark>.json``."""
    parts = [re.sub(r"[^A-Za-z0-9._-]+", "--", part) for part in (platform, model, recipe, benchmark)]
    return root.joinpath(*parts[:-1], f"{parts[-1]}.json")


def read(path: pathlib.Path, kind: type[StoredT] = Baseline) -> StoredT:  # type: ignore[assignment]
    """Read a baseline; raise BaselineError, with the command that mends it, where it is missing or damaged."""
    if not path.is_file():
        raise BaselineError(f"there is no baseline {path}. {UPDATE_HINT.format('new')}")
    try:
        table = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (OSError, ValueError) as error:
        raise BaselineError(f"the baseline {path} is damaged: {error}. {_MEND}") from error
    if not isinstance(table, dict) or "sha256" not in table:
        raise BaselineError(f"the baseline {path} is damaged: it has no sha256. {_MEND}")
    stored = table.pop("sha256")
    if stored != digest(table):
        raise BaselineError(f"the baseline {path} was edited: its content does not have the sha256 it states. {_MEND}")
    try:
        return from_json(kind, table, where=path.name)
    except RecordError as error:
        raise BaselineError(f"the baseline {path} is not valid: {error}. {_MEND}") from error


def dump(baseline: Baseline | LayerProfile) -> str:
    """Return the text of a baseline file."""
    table: dict[str, Any] = to_json(baseline)
    table["sha256"] = digest(table)
    lines = [f"    {_line(row)}" for row in table.pop(baseline.ROWS)]
    head = json.dumps(table, indent=2, sort_keys=True, ensure_ascii=False)[:-2]
    return f'{head},\n  "{baseline.ROWS}": [\n' + ",\n".join(lines) + "\n  ]\n}\n"


def write(path: pathlib.Path, baseline: Baseline | LayerProfile) -> None:
    """Put a baseline in its place atomically, and down to the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(dump(baseline))
            stream.flush()
            os.fsync(stream.fileno())
        pathlib.Path(temporary).chmod(0o644)
        pathlib.Path(temporary).replace(path)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def _line(item: Any) -> str:
    return json.dumps(item, sort_keys=True, ensure_ascii=False, separators=(", ", ": "))
