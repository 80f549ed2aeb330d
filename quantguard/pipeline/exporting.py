"""Writing a quantized model in the format of a server: one that lies in a folder of ours, or one quantized for it."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Collection

from quantguard.checkpoints import Exportable, members, native
from quantguard.errors import UsageError
from quantguard.pipeline.progress import Progress, silent
from quantguard.pipeline.saving import quantize_to_folder
from quantguard.recipes import load_recipe
from quantguard.records import Recipe
from quantguard.records.files import scratch_beside


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ExportedModel:
    """A written folder, and what a reader should know of how it will be served."""

    path: pathlib.Path
    num_bytes: int
    notes: tuple[str, ...]


def formats() -> list[str]:
    """List the formats that can be written."""
    return [name for name in members if members.able(name, Exportable) is not None]


def export(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    form: str,
    recipe: Recipe | str | os.PathLike[str] | None = None,
    dtype: str | None = None,
    forced: Collection[str] = (),
    tensor_parallel_size: int = 1,
    progress: Progress = silent,
) -> ExportedModel:
    """Write a model in a format; ``output`` is there whole or not at all.

    ``model`` is a folder that quantguard quantized, or with ``recipe`` a full-precision model, which is quantized on
    the way, into a folder that is removed again; ``dtype`` is the type to load that one in. Raises UsageError for
    another model or a folder that is not empty, and ModelError for what the format has no place for.
    """
    chosen, target = members.able(form, Exportable), pathlib.Path(output)
    if chosen is None:
        raise UsageError(f"{form} can be read and not written; formats to write: {', '.join(formats())}")
    write = functools.partial(chosen.export, forced=forced, tensor_parallel_size=tensor_parallel_size)
    if recipe is None:
        notes = write(_own_folder(model, dtype), target)
    else:
        wanted = recipe if isinstance(recipe, Recipe) else load_recipe(os.fspath(recipe))
        chosen.require_exportable(wanted, forced=forced)
        target.parent.mkdir(parents=True, exist_ok=True)
        with scratch_beside(target) as scratch:
            saved = quantize_to_folder(model, wanted, scratch / "model", dtype=dtype, progress=progress)
            notes = (*saved.notes, *write(native.OwnFolder(saved.path), target))
    num_bytes = sum(file.stat().st_size for file in target.iterdir())
    return ExportedModel(path=target, num_bytes=num_bytes, notes=notes)


def _own_folder(model: str | os.PathLike[str], dtype: str | None) -> native.OwnFolder:
    path = pathlib.Path(model)
    if not native.is_native(path):
        raise UsageError(
            f"{os.fspath(model)} is no folder that quantguard quantized: type quantguard quantize first, or give"
            " --recipe to quantize it on the way"
        )
    if dtype is not None:
        raise UsageError(f"{path} is quantized: its type was chosen then, and dtype={dtype!r} cannot change it")
    return native.OwnFolder(path)
