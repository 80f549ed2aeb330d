"""Models that go by a short name: one TOML file each, bundled with the package or fetched from a package index."""

import dataclasses
import os
import pathlib
import tomllib

import platformdirs

from quantguard.errors import UnknownNameError
from quantguard.records import CalibrationArgs, from_json
from quantguard.registry import discover_toml

_PACKAGE = pathlib.Path(__file__).parent.parent


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PackagedFile:
    """A model file inside a distribution on a Python package index."""

    distribution: str
    version: str
    file: str
    sha256: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """What a short model name stands for.

    ``folder`` is relative to the package, for a model that is bundled; ``source`` is what ``quantguard fetch``
    installs. ``dtype`` is the type the full-precision model runs in where the device leaves that to it.
    """

    name: str
    description: str
    licence: str
    folder: str | None = None
    source: PackagedFile | None = None
    dtype: str
    calibration: CalibrationArgs

    @property
    def path(self) -> pathlib.Path | None:
        """The folder of a bundled model."""
        return _PACKAGE / self.folder if self.folder else None


def names() -> list[str]:
    """List the names in the catalogue."""
    return list(discover_toml("catalog"))


def find(name: str) -> CatalogEntry | None:
    """Return the entry of a short name, or None where the catalogue does not have it."""
    path = discover_toml("catalog").get(name)
    return None if path is None else from_json(CatalogEntry, {"name": name, **tomllib.loads(path.read_text())})


def entry(name: str) -> CatalogEntry:
    """Return the entry of a short name; raise UnknownNameError where the catalogue does not have it."""
    found = find(name)
    if found is None:
        raise UnknownNameError("model name", name, names())
    return found


def folder(entry: CatalogEntry) -> pathlib.Path:
    """Return where the files of a model are, or will be when it is fetched."""
    return entry.path or cache_folder(entry.name)


def cache_folder(name: str) -> pathlib.Path:
    """Return where ``quantguard fetch`` keeps a model, whether or not it is there."""
    return cache_root() / "models" / name


def cache_root() -> pathlib.Path:
    """Return the folder of everything that is kept for later: QUANTGUARD_CACHE, else the user's own."""
    return pathlib.Path(os.environ.get("QUANTGUARD_CACHE") or platformdirs.user_cache_dir("quantguard"))
