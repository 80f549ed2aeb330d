"""Checking a checkpoint that lies in a folder, whoever made it."""

import collections
import dataclasses
import pathlib

import tqdm

from quantguard import registry
from quantguard.checkpoints import _checking as rules
from quantguard.checkpoints import recognise
from quantguard.errors import UsageError
from quantguard.records import Defect


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFolder:
    """What was looked at, and what is wrong with it."""

    path: pathlib.Path
    form: str
    recipe: str
    types: dict[str, int]
    num_bytes: int
    defects: tuple[Defect, ...]

    def summary(self) -> str:
        """Say in a line what was checked."""
        count = len(self.defects)
        found = "no rule is broken" if not count else f"{count} rule{'s are' if count > 1 else ' is'} broken"
        size = tqdm.tqdm.format_sizeof(self.num_bytes, "B")
        types = ", ".join(f"{number} {name}" for name, number in self.types.items())
        return f"{self.path}: {self.form}, {self.recipe}, {size} of tensors ({types}): {found}"


def check(path: pathlib.Path) -> CheckedFolder:
    """Hold a folder against the rules of its format, from headers and the values that are floats.

    Raises UsageError for a folder that is no quantized checkpoint, and ModelError for one with nothing to check.
    """
    form = recognise(path)
    if form is None:
        what = "has no quantized checkpoint" if path.is_dir() else "is no folder"
        raise UsageError(f"{path} {what}; formats that can be checked: {', '.join(registry.checkpoints)}")
    stored = form.open_checkpoint(path)
    defects = tuple(rules.check(stored))
    files = [path / file for file in sorted(stored.tensors.files) if (path / file).is_file()]
    types = collections.Counter(entry.dtype for entry in stored.tensors.entries.values())
    return CheckedFolder(
        path=path,
        form=form.__name__.rpartition(".")[2].replace("_", "-"),
        recipe=stored.recipe.name,
        types=dict(sorted(types.items())),
        num_bytes=sum(file.stat().st_size for file in files),
        defects=defects,
    )
