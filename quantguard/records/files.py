"""Files of ours: read strictly, written whole or not at all.

A reader is told what is wrong with a file in words that end a sentence; who calls adds the file and what to type.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import pathlib
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from quantguard.errors import ConflictError, RecordError

# What a writer that was killed leaves beside its file begins with this.
SCRATCH_PREFIX = ".writing-"
_LARGEST = 2**63
# A full disk may have room for a name and none for what it holds.
_TRIED_BYTES = 4096
_MARKS = ("<<<<<<< ", ">>>>>>> ")


def read_text(path: pathlib.Path) -> str:
    """Return the text of a file; raise RecordError saying what is there instead."""
    if path.is_dir():
        raise RecordError("it is a folder")
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise RecordError("it is not there") from None
    except OSError as error:
        raise RecordError(error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise RecordError(f"it is no text in UTF-8: byte {error.start} is {error.object[error.start]:#04x}") from error
    if text.startswith("\ufeff"):
        raise RecordError("it begins with a byte order mark: save it as UTF-8 without one")
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(_MARKS):
            raise ConflictError(f"line {number} is a mark of a merge that was not finished, {line[:40]!r}")
    return text


def parse_json(text: str) -> Any:
    """Return JSON values; raise RecordError for anything that another reader might take for something else."""
    try:
        return json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_bounded,
            object_pairs_hook=_without_repetition,
        )
    except RecursionError:
        raise RecordError("it is nested too deep") from None
    except ValueError as error:
        raise RecordError(f"it is no JSON: {error}") from error


def parse_toml(text: str) -> dict[str, Any]:
    """Return the table of a TOML text; raise RecordError where it is none."""
    try:
        table = tomllib.loads(text, parse_float=_finite)
        _refuse_huge(table)
    except RecursionError:
        raise RecordError("it is nested too deep") from None
    except ValueError as error:
        raise RecordError(f"it is no TOML: {error}") from error
    return table


def file_sha256(path: pathlib.Path) -> str:
    """Hash the bytes of a file, however large it is."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_whole(path: pathlib.Path, text: str) -> None:
    """Write a file so that at any moment it is either the old one or the new one, and down to the disk.

    Half of a character, which a model can write, is no UTF-8; it is written as the escape that JSON has for it.
    """
    write_together({path: text})


def write_together(texts: Mapping[pathlib.Path, str]) -> None:
    """Write several files, each as :func:`write_whole` does, and none of them where one cannot be written."""
    # A link stays a link: what it names is written.
    targets = {path.resolve() if path.is_symlink() else path: text for path, text in texts.items()}
    with contextlib.ExitStack() as stack:
        staged = {}
        for path, text in targets.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            # The one thing for which a rename would fail when others are in place already.
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            staged[path] = stack.enter_context(scratch_beside(path)) / path.name
            _write_down(staged[path], text)
        for path, complete in staged.items():
            complete.replace(path)


@contextlib.contextmanager
def scratch_beside(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield an empty folder on the file system of ``path``, for what is renamed to it when it is complete.

    A killed process leaves the folder behind. It is called ``.git``, in a folder that has nothing else in it: git takes
    nothing from below that name, not even with ``--force``, and from the first moment on, which a ``.gitignore`` that
    has to be written first cannot give.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=SCRATCH_PREFIX) as folder:
        scratch = pathlib.Path(folder, ".git")
        scratch.mkdir()
        yield scratch


def try_writing(folder: pathlib.Path) -> None:
    """Raise OSError where nothing can be written below a folder, which need not be there yet; leave nothing behind."""
    existing = folder.absolute()
    while not os.path.lexists(existing):
        existing = existing.parent
    with scratch_beside(existing / "file") as scratch:
        _write_down(scratch / "file", " " * _TRIED_BYTES)


def _write_down(path: pathlib.Path, text: str) -> None:
    with path.open("x", encoding="utf-8", errors="backslashreplace") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def _bounded(text: str) -> int:
    if len(text) > len(str(-_LARGEST)):
        raise ValueError(f"{text[:20]}… is too large for an integer")
    return int(text)


def _refuse_huge(value: Any) -> None:
    """Raise ValueError for an integer that nothing means, and that neither a float nor a message has room for."""
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise ValueError(f"an integer of {value.bit_length()} bits is too large")
    for entry in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _refuse_huge(entry)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large for a number")
    return value


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice")
    return table
