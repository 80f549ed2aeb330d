"""A folder that quantguard quantized into; where it can, it is compressed-tensors at the same time."""

import pathlib

from quantguard.checkpoints.native.folder import OwnFolder, load
from quantguard.checkpoints.native.manifest import (
    MANIFEST,
    MANIFEST_FILE,
    UNFINISHED,
    Manifest,
    is_native,
    is_unfinished,
)
from quantguard.checkpoints.native.read import OwnCheckpoint

__all__ = [
    "DESCRIPTION",
    "MANIFEST",
    "MANIFEST_FILE",
    "UNFINISHED",
    "Manifest",
    "OwnCheckpoint",
    "OwnFolder",
    "is_native",
    "is_unfinished",
    "load",
    "open_checkpoint",
    "recognises",
]

DESCRIPTION = "what quantguard quantize writes"


def recognises(path: pathlib.Path) -> bool:
    """Tell whether a folder is a finished one of ours."""
    return is_native(path)


def open_checkpoint(path: pathlib.Path) -> OwnCheckpoint:
    """Read manifest and configuration, hashes left out; raise ModelError where they are damaged or a file is gone."""
    return OwnCheckpoint(folder=OwnFolder(path, hashes=False))
