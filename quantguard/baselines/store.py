"""Where baseline files belong, and reading and writing them.

Keys are sorted and every item is a line of its own, so that a difference reads well, and branches that update different
gates never meet in one file; those that update the same gate always do, in the line of ``sha256``. It covers all else
in the file, so that an edit by hand is noticed.
"""

import dataclasses
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from quantguard.baselines.fingerprint import changes
from quantguard.baselines.layer_profile import LayerProfile
from quantguard.baselines.record import Baseline
from quantguard.errors import BaselineError, ConflictError, RecordError
from quantguard.records import from_json, to_json
from quantguard.records.candidate import Candidate
from quantguard.records.files import parse_json, read_text, seal, unseal, write_together, write_whole

# What is stored: outcomes item by item, or layer by layer.
StoredT = TypeVar("StoredT", Baseline, LayerProfile)
UPDATE_HINT = "Type: pytest --quantguard --quantguard-update={}"
_UPDATE_CHANGED = UPDATE_HINT.format("changed").removeprefix("Type: ")
_MEND = f"Restore it from version control, or measure it anew. {UPDATE_HINT.format('changed')}"
_CHOOSE = (
    "Two branches accepted different runs. Take one of them, git checkout --ours {path} or --theirs, or measure it"
    f" anew. {UPDATE_HINT.format('changed')}"
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BaselineLocation:
    """The file of a gate's baseline, the names that it goes by and the fingerprint of a run today."""

    path: str
    """The path of the file, whether it is there or not."""
    platform: str
    """What the candidate runs on."""
    model: str
    """What the candidate is called."""
    recipe: str
    """The recipe's name."""
    benchmark: str
    """What is measured: the name of a task, or ``layers``."""
    must_match: dict[str, str]
    """What a baseline has to share with a run of the candidate."""
    reference: str | None = None
    """The full-precision model whose outcomes it holds, absent where none was named."""

    def clash(self, other: "BaselineLocation") -> str | None:
        """Say in what two gates of one location are not of the same run, or None where they are."""
        names = ("platform", "model", "recipe", "benchmark")
        ours = {name: getattr(self, name) for name in names} | self.must_match
        theirs = {name: getattr(other, name) for name in names} | other.must_match
        if None not in (self.reference, other.reference):
            ours["reference"], theirs["reference"] = str(self.reference), str(other.reference)
        changed = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
        return "; ".join(f"{key} is {_brief(ours.get(key))} and {_brief(theirs.get(key))}" for key in changed) or None

    def require_fingerprint(self, stored: dict[str, str]) -> None:
        """Raise BaselineError where a baseline was measured by another fingerprint than today's."""
        if changed := changes(stored, self.must_match):
            facts = "; ".join(f"{key} {how}" for key, how in changed.items())
            raise BaselineError(
                f"the baseline {self.path} is stale: {facts}. If that is meant, type: {_UPDATE_CHANGED}"
            )


def baseline_path(root: pathlib.Path, *, platform: str, model: str, recipe: str, benchmark: str) -> pathlib.Path:
    """Return where the baseline of a gate belongs: ``<root>/<platform>/<model>/<recipe>/<benchmark>.json``."""
    parts = [re.sub(r"[^A-Za-z0-9._-]+", "--", part) for part in (platform, model, recipe, benchmark)]
    return root.joinpath(*parts[:-1], f"{parts[-1]}.json")


def locate(root: pathlib.Path, candidate: Candidate, benchmark: str, must_match: dict[str, str]) -> BaselineLocation:
    """Return where the baseline of a candidate belongs below ``root``."""
    path = baseline_path(
        root, platform=candidate.platform, model=candidate.model, recipe=candidate.recipe, benchmark=benchmark
    )
    return BaselineLocation(
        path=str(path),
        platform=candidate.platform,
        model=candidate.model,
        recipe=candidate.recipe,
        benchmark=benchmark,
        must_match=must_match,
        reference=candidate.reference,
    )


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


def _brief(value: str | None) -> str:
    return "absent" if value is None else value if len(value) <= 40 else f"{value[:12]}…"
