"""Files that a command is asked for: tried before it works, never put over a file of another kind, told afterwards."""

import os
import pathlib
from collections.abc import Callable

from quantguard.errors import QuantguardError, UsageError
from quantguard.recipes import load_recipe
from quantguard.records.files import try_writing, write_whole
from quantguard.records.record_file import read_record


def require_record(option: str, path: pathlib.Path) -> None:
    """Raise UsageError where a record cannot be written, or would overwrite what is no record."""
    _require(option, path, "record", read_record)


def require_recipe(option: str, path: pathlib.Path) -> None:
    """Raise UsageError where a recipe cannot be written, or would overwrite what is no recipe."""
    if path.suffix != ".toml":
        raise UsageError(f"{option} {path}: give a file that ends in .toml, in a folder that exists")
    _require(option, path, "recipe", load_recipe)


def require_picture(option: str, path: pathlib.Path) -> None:
    """Raise UsageError where a picture cannot be written, or would overwrite what is none."""
    _require(option, path, "picture in SVG", _read_picture)


def write(option: str, path: pathlib.Path, text: str, *, kept: str = "") -> None:
    """Write a file whole; raise UsageError, with what is ``kept`` of the work, where that fails after all."""
    try:
        write_whole(path, text)
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be written: {error.strerror or error}. {kept}".rstrip()) from error


def _require(option: str, path: pathlib.Path, what: str, read: Callable[[pathlib.Path], object]) -> None:
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise UsageError(f"{option} {path}: it is a folder; give the name of a file")
    if os.path.lexists(path):
        try:
            read(path)
        except QuantguardError as error:
            raise UsageError(
                f"{option} {path}: the file is there and is no {what}, so it would be lost. Give another name, or"
                f" remove it: rm '{path}'"
            ) from error
    try:
        try_writing(path.parent)
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be written: {error.strerror or error}") from error


def _read_picture(path: pathlib.Path) -> None:
    with path.open("rb") as stream:
        if not stream.read(16).startswith(b"<svg"):
            raise UsageError(f"{path} is no picture")
