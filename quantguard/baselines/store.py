"""Where baseline files belong, and reading and writing them.

Keys are sorted and every item is a line of its own, so that a difference reads well, and branches that update different
gates never meet in one file; those that update the same gate always do, in the line of ``sha256``. It covers all else
in the file, so that an edit by hand is noticed.
"""

import dataclasses
import pathlib
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from quantguard.baselines.layer_profile import LayerProfile
from quantguard.baselines.record import Baseline
from quantguard.errors import BaselineError, RecordError
from quantguard.records import Difference, Fingerprint
from quantguard.records.candidate import Candidate
from quantguard.records.files import parse_json, read_text, write_together
from quantguard.records.fingerprint import shown
from quantguard.records.sealed_file import SealedFile

# What is stored: outcomes item by item, or layer by layer.
StoredT = TypeVar("StoredT", Baseline, LayerProfile)
UPDATE_HINT = "Type: pytest --quantguard --quantguard-update={}"
_UPDATE_CHANGED = UPDATE_HINT.format("changed").removeprefix("Type: ")
_VERSION = 2
_MISSING = f"there is no baseline {{path}}. {UPDATE_HINT.format('new')}"
_DAMAGED = (
    "the baseline {path} is damaged: {problem}. Restore it from version control, or measure it anew."
    f" {UPDATE_HINT.format('changed')}"
)
_UNMERGED = (
    "the baseline {path} is damaged: {problem}. Two branches accepted different runs. Take one of them, git checkout"
    f" --ours {{path}} or --theirs, or measure it anew. {UPDATE_HINT.format('changed')}"
)
_FOREIGN = {"generations": "It is a record: give the baseline, quantguard baseline accept BASELINE {path}"}


def _sealed(kind: type[StoredT], rows: str) -> SealedFile[StoredT]:
    return SealedFile(
        record=kind,
        error=BaselineError,
        missing=_MISSING,
        damaged=_DAMAGED,
        unmerged=_UNMERGED,
        foreign=_FOREIGN,
        rows=rows,
        version=_VERSION,
    )


_ITEMS, _LAYERS = _sealed(Baseline, "items"), _sealed(LayerProfile, "layers")


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
    fingerprint: Fingerprint
    """What a baseline has to share with a run of the candidate."""
    reference: str | None = None
    """The full-precision model whose outcomes it holds, absent where none was named."""

    def clash(self, other: "BaselineLocation") -> str | None:
        """Say in what two gates of one location are not of the same run, or None where they are."""
        names = ["platform", "model", "recipe", "benchmark"]
        if None not in (self.reference, other.reference):
            names.append("reference")
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in names]
        found = [Difference(name, ours, theirs) for name, ours, theirs in pairs if ours != theirs]
        found += self.fingerprint.differences(other.fingerprint)
        return "; ".join(f"{name} is {shown(ours)} and {shown(theirs)}" for name, ours, theirs in found) or None

    def require_fingerprint(self, stored: Fingerprint) -> None:
        """Raise BaselineError where a baseline was measured by another fingerprint than today's."""
        if changed := stored.differences(self.fingerprint):
            facts = "; ".join(map(str, changed))
            raise BaselineError(
                f"the baseline {self.path} is stale: {facts}. If that is meant, type: {_UPDATE_CHANGED}"
            )


def baseline_path(root: pathlib.Path, *, platform: str, model: str, recipe: str, benchmark: str) -> pathlib.Path:
    """Return where the baseline of a gate belongs: ``<root>/<platform>/<model>/<recipe>/<benchmark>.json``."""
    parts = [re.sub(r"[^A-Za-z0-9._-]+", "--", part) for part in (platform, model, recipe, benchmark)]
    return root.joinpath(*parts[:-1], f"{parts[-1]}.json")


def locate(root: pathlib.Path, candidate: Candidate, benchmark: str, fingerprint: Fingerprint) -> BaselineLocation:
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
        fingerprint=fingerprint,
        reference=candidate.reference,
    )


def read(path: pathlib.Path, kind: type[StoredT] = Baseline) -> StoredT:  # type: ignore[assignment]
    """Read a baseline; raise BaselineError, with the command that mends it, where it is missing or damaged."""
    return _file_of(kind).read(path)


def read_any(path: pathlib.Path) -> Baseline | LayerProfile:
    """Read a baseline of either kind; raise BaselineError, as :func:`read` does."""
    try:
        layers = _LAYERS.rows in parse_json(read_text(path))
    except RecordError:
        layers = False
    return read(path, LayerProfile) if layers else read(path)


def parse(text: str, kind: type[StoredT] = Baseline) -> StoredT:  # type: ignore[assignment]
    """Return the baseline that a text holds; raise RecordError, in words that end a sentence, for anything else."""
    return _file_of(kind).parse(text)


def dump(baseline: Baseline | LayerProfile) -> str:
    """Return the text of a baseline file."""
    return _LAYERS.dump(baseline) if isinstance(baseline, LayerProfile) else _ITEMS.dump(baseline)


def write(path: pathlib.Path, baseline: Baseline | LayerProfile) -> None:
    """Put a baseline in its place atomically, and down to the disk."""
    write_all({path: baseline})


def write_all(baselines: Mapping[pathlib.Path, Baseline | LayerProfile]) -> None:
    """Put several baselines in their places, or none of them where one cannot be written."""
    write_together({path: dump(baseline) for path, baseline in baselines.items()})


def _file_of(kind: type[StoredT]) -> SealedFile[StoredT]:
    files: dict[type, SealedFile[Any]] = {Baseline: _ITEMS, LayerProfile: _LAYERS}
    return files[kind]
