"""Checking a checkpoint that lies in a folder, whoever made it."""

import collections
import dataclasses
import pathlib
from collections.abc import Iterable, Iterator

import tqdm

from quantguard.checkpoints import Exportable, members, native, recognise
from quantguard.checkpoints import _checking as rules
from quantguard.checkpoints._stored import StoredCheckpoint
from quantguard.errors import UsageError
from quantguard.modeling.descriptions import EMBEDDING_WEIGHT, HEAD_WEIGHT
from quantguard.modeling.stored_parameters import ties_head
from quantguard.records import Defect


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFolder:
    """What was looked at, what is wrong with it, and in ``warnings`` what some programs refuse or read otherwise."""

    path: pathlib.Path
    form: str
    recipe: str
    types: dict[str, int]
    num_bytes: int
    defects: tuple[Defect, ...]
    warnings: tuple[Defect, ...]

    def summary(self) -> str:
        """Say in a line what was checked."""
        count = len(self.defects)
        found = "no rule is broken" if not count else f"{count} rule{'s are' if count > 1 else ' is'} broken"
        size = tqdm.tqdm.format_sizeof(self.num_bytes, "B")
        types = ", ".join(f"{number} {name}" for name, number in self.types.items())
        warned = f", {len(self.warnings)} warning{'s' if self.warnings[1:] else ''}" if self.warnings else ""
        return f"{self.path}: {self.form}, {self.recipe}, {size} of tensors ({types}): {found}{warned}"


def check(path: pathlib.Path) -> CheckedFolder:
    """Hold a folder against the rules of its format, from headers and the values that are floats.

    Raises UsageError for a folder that is no quantized checkpoint, and ModelError for one with nothing to check.
    """
    form = recognise(path)
    if form is None:
        what = "has no quantized checkpoint" if path.is_dir() else "is no folder"
        raise UsageError(f"{path} {what}; formats that can be checked: {', '.join(members)}")
    stored = members[form].open_checkpoint(path)
    defects = tuple(rules.check(stored))
    files = [path / file for file in sorted(stored.tensors.files) if (path / file).is_file()]
    types = collections.Counter(entry.dtype for entry in stored.tensors.entries.values())
    return CheckedFolder(
        path=path,
        form=form,
        recipe=stored.recipe.name,
        types=dict(sorted(types.items())),
        num_bytes=sum(file.stat().st_size for file in files),
        defects=defects,
        warnings=(*stored.warnings(), *_head_warnings(stored), *_not_exportable(path)),
    )


def _head_warnings(stored: StoredCheckpoint) -> Iterator[Defect]:
    """Find a head of its own under a configuration that ties it, which programs read in two ways."""
    entries = stored.tensors.entries
    if not stored.config.tie_word_embeddings or EMBEDDING_WEIGHT not in entries or HEAD_WEIGHT not in entries:
        return
    if entries[EMBEDDING_WEIGHT].shape != entries[HEAD_WEIGHT].shape:
        return
    read = stored.tensors.read_named([EMBEDDING_WEIGHT, HEAD_WEIGHT])
    if not ties_head(stored.config, read[EMBEDDING_WEIGHT].to(stored.dtype), read[HEAD_WEIGHT].to(stored.dtype)):
        rule = (
            "tie_word_embeddings is true, and this head is not the embedding: transformers and quantguard read it, and"
            " vLLM takes the embedding; write false into config.json"
        )
        yield Defect(file=entries[HEAD_WEIGHT].file, tensor=HEAD_WEIGHT, rule=rule)


def _not_exportable(path: pathlib.Path) -> Iterator[Defect]:
    """Find what the formats that can be written have no place for, of a folder of ours: what export refuses it for."""
    if not native.is_native(path):
        return
    folder = native.OwnFolder(path, hashes=False)
    for name in members:
        form = members.able(name, Exportable)
        for reason, count in _by_reason(() if form is None else form.refusals(folder)):
            more = f" (and {count - 1} more like it)" if count > 1 else ""
            rule = f"quantguard export --format {name} refuses it: {reason}{more}"
            yield Defect(file=native.MANIFEST, rule=rule)


def _by_reason(refused: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Return the first refusal of each reason, and how many there are; a reason stands behind the name of a layer."""
    found: dict[str, list[str]] = {}
    for told in refused:
        where, _, reason = told.partition(": ")
        found.setdefault(reason or where, []).append(told)
    yield from ((told[0], len(told)) for told in found.values())
