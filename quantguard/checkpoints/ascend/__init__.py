"""AscendV1, which msModelSlim writes and vLLM-Ascend serves: W8A8, W8A16, W4A8, W4A4 and FlatQuant, cache in C8.

``quant_model_description.json`` has the type of every tensor.
"""

import pathlib
from collections.abc import Collection, Iterator

from quantguard.checkpoints.ascend import support, write
from quantguard.checkpoints.ascend.description import FILE, older_description
from quantguard.checkpoints.ascend.read import AscendCheckpoint
from quantguard.checkpoints.native.folder import OwnFolder
from quantguard.records import Recipe

DESCRIPTION = "AscendV1 of msModelSlim, for vLLM-Ascend: W8A8, W8A16, W4A8, W4A4 with and without FlatQuant, C8"
REFUSALS = support.REFUSALS


def recognises(path: pathlib.Path) -> bool:
    """Tell whether a folder has the description that makes it such a checkpoint, by its name of today or of before."""
    return (path / FILE).is_file() or older_description(path) is not None


def open_checkpoint(path: pathlib.Path) -> AscendCheckpoint:
    """Open a checkpoint; raise ModelError where its configuration or description cannot be read."""
    return AscendCheckpoint(path)


def export(
    folder: OwnFolder, output: pathlib.Path, *, forced: Collection[str] = (), tensor_parallel_size: int = 1
) -> tuple[str, ...]:
    """Write a model that quantguard quantized into an empty or new folder, all or nothing; return notes.

    ``forced`` are names of ``REFUSALS``: what vLLM-Ascend is known to mishandle and is written nevertheless. Raises
    ModelError saying what the format, or the loader, has no place for.
    """
    return write.export(folder, output, forced=forced, tensor_parallel_size=tensor_parallel_size)


def refusals(folder: OwnFolder) -> Iterator[str]:
    """Find what :func:`export` would refuse of a folder, without reading what is large."""
    return write.refusals(folder)


def require_exportable(recipe: Recipe, *, forced: Collection[str] = ()) -> None:
    """Raise ModelError, or UnknownNameError for ``forced``, before a model is quantized by a recipe in vain."""
    support.require_known(forced)
    support.check_recipe(recipe, forced)
