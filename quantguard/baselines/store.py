"""Reading and writing baseline files.

Keys are sorted and every item is a line of its own, so that a difference reads well, and branches that update different
gates never meet in one file; those that update the same gate always do, in the line of ``sha256``. It covers all else
in the file, so that an edit by hand is noticed.
"""

import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from quantguard.baselines.layer_profile import LayerProfile
from quantguard.baselines.record import Baseline
from quantguard.errors import BaselineError, ConflictError, RecordError
from quantguard.records import from_json, to_json
from quantguard.records.files import parse_json, read_text, seal, unseal, write_together, write_whole

# What is stored: outcomes item by item, or layer by layer.
StoredT = TypeVar("StoredT", Baseline, LayerProfile)
UPDATE_HINT = "Type: pytest --quantguard --quantguard-update={}"
_MEND = f"Restore it from version control, or measure it anew. {UPDATE_HINT.format('changed')}"
_CHOOSE = (
    "Two branches accepted different runs. Take one of them, git checkout --ours {path} or --theirs, or measure it"
    f" anew. {UPDATE_HINT.format('changed')}"
)


def baseline_path(root: pathlib.Path, *, platform: str, model: str, recipe: str, benchmark: str) -> pathlib.Path:
    """Return where the baseline of a gate belongs: ``<root>/<platform>/<model>/<recipe>/<benchmark>.json``."""
    parts = [re.sub(r"[^A-Za-z0-9._-]+", "--", part) for part in (platform, model, recipe, benchmark)]
    return root.joinpath(*parts[:-1], f"{parts[-1]}.json")


def read(path: pathlib.Path, kind: type[StoredT] = Baseline) -> StoredT:  # type: ignore[assignment]
    """Read a baseline; raise BaselineError, with the command that mends it, where it is missing or damaged."""
    if not path.exists():
        raise BaselineError(f"there is no baseline {path}. {UPDATE_HINT.format('new')}")
    try:
        return parse(read_text(path), kind)
    except ConflictError as error:
        raise BaselineError(f"the baseline {path} is damaged: {error}. {_CHOOSE.format(path=path)}") from error
    except RecordError as error:
        raise BaselineError(f"the baseline {path} is damaged: {error}. {_MEND}") from error


def read_any(path: pathlib.Path) -> Baseline | LayerProfile:
    """Read a baseline of either kind; raise BaselineError, as :func:`read` does."""
    try:
        layers = LayerProfile.ROWS in parse_json(read_text(path))
    except RecordError:
        layers = False
    return read(path, LayerProfile) if layers else read(path)


def parse(text: str, kind: type[StoredT] = Baseline) -> StoredT:  # type: ignore[assignment]
    """Return the baseline that a text holds; raise RecordError, in words that end a sentence, for anything else."""
    return from_json(kind, unseal(parse_json(text)), where="it")


def dump(baseline: Baseline | LayerProfile) -> str:
    """Return the text of a baseline file."""
    table: dict[str, Any] = seal(to_json(baseline))
    lines = [f"    {_line(row)}" for row in table.pop(baseline.ROWS)]
    head = json.dumps(table, indent=2, sort_keys=True, ensure_ascii=False)[:-2]
    return f'{head},\n  "{baseline.ROWS}": [\n' + ",\n".join(lines) + "\n  ]\n}\n"


def write(path: pathlib.Path, baseline: Baseline | LayerProfile) -> None:
    """Put a baseline in its place atomically, and down to the disk."""
    write_whole(path, dump(baseline))


def write_all(baselines: Mapping[pathlib.Path, Baseline | LayerProfile]) -> None:
    """Put several baselines in their places, or none of them where one cannot be written."""
    write_together({path: dump(baseline) for path, baseline in baselines.items()})


def _line(item: Any) -> str:
    return json.dumps(item, sort_keys=True, ensure_ascii=False, separators=(", ", ": "))
