"""Quantized models on disk, in the formats that are read and written."""

import pathlib
from collections.abc import Collection, Iterable
from typing import Protocol

from quantguard.checkpoints._stored import StoredCheckpoint
from quantguard.checkpoints.native.folder import OwnFolder
from quantguard.errors import ModelError
from quantguard.modeling.configuration import quantization_settings
from quantguard.records import Recipe
from quantguard.registry import Registry

__all__ = ["Exportable", "Format", "StoredCheckpoint", "members", "recognise"]


class Format(Protocol):
    """What a format has."""

    @property
    def DESCRIPTION(self) -> str:
        """Who writes and reads it, in a few words."""

    def recognises(self, path: pathlib.Path) -> bool:
        """Tell whether a folder is of this format, by configuration files alone."""

    def open_checkpoint(self, path: pathlib.Path) -> StoredCheckpoint:
        """Read a checkpoint's configuration and headers; raise ModelError where they cannot be read."""


class Exportable(Protocol):
    """A format that can be written."""

    def export(
        self, folder: OwnFolder, output: pathlib.Path, *, forced: Collection[str] = (), tensor_parallel_size: int = 1
    ) -> tuple[str, ...]:
        """Write a model that quantguard quantized into an empty or new folder, all or nothing; return notes.

        ``forced`` names what its server is known to mishandle and is written nevertheless. Raises ModelError for what
        the format has no place for.
        """

    def refusals(self, folder: OwnFolder) -> Iterable[str]:
        """Find what ``export`` would refuse of a folder, without reading what is large."""

    def require_exportable(self, recipe: Recipe, *, forced: Collection[str] = ()) -> None:
        """Raise ModelError before a model is quantized in vain by a recipe that the format has no place for."""


members = Registry("checkpoints", Format, kind="checkpoint format", abilities=[Exportable])


def recognise(path: pathlib.Path) -> str | None:
    """Return the name of the format of a folder's checkpoint; None for one that is not quantized, or is no folder.

    Raises ModelError where the folder claims to be of two formats, or is quantized in none of them.
    """
    if not path.is_dir():
        return None
    found = [name for name, form in members.items() if form.recognises(path)]
    if len(found) > 1:
        raise ModelError(
            f"{path} says that it is of the formats {' and '.join(found)}; it can be one. Remove what is left of the"
            " other: a quantization_config in config.json, or a quant_model_description.json"
        )
    settings = quantization_settings(path)
    if not found and settings is not None:
        raise ModelError(
            f"{path} is quantized by the method {settings.get('quant_method')!r}, which quantguard does not read;"
            f" formats that it reads: {', '.join(members)}. Give the full-precision model, or one of these"
        )
    return found[0] if found else None
