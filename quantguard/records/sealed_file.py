"""Files of ours that hold one record: sealed with a hash of what they hold, of a version, written whole or not at all.

Whoever has such a file says once what it is called and what to type about one that is missing, damaged, left unmerged,
of another kind or of a newer quantguard; reading and refusing are the same for all.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from quantguard.errors import ConflictError, QuantguardError, RecordError
from quantguard.records.codec import digest, from_json, to_json
from quantguard.records.files import parse_json, read_text, write_whole

RecordT = TypeVar("RecordT")
_SEAL, _VERSION = "sha256", "schema_version"
# What files were before they had a version.
_FIRST_VERSION = 1
_NEWER = "{path} is of a newer quantguard: {problem}. Type: pip install --upgrade quantguard"


class NewerError(RecordError):
    """Report a file that a newer quantguard has written."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SealedFile(Generic[RecordT]):
    """A kind of file. In its sentences ``{path}`` stands for the file and ``{problem}`` for what is wrong with it.

    Attributes:
        record: The class of what it holds.
        error: The class of the error that a refused file raises.
        damaged: The sentence on a file that cannot be read, with what to type.
        missing: The sentence on a file that is not there; absent where that is damage like any other.
        unmerged: The sentence on a file with marks of an unfinished merge; absent where that is damage like any other.
        foreign: What to type about a file of another kind, by a key that such a file has; it stands before the rest.
        rows: The field whose entries stand in lines of their own below sorted keys, so that differences and merges read
            well; absent for a file that nobody keeps under version control.
        version: The version of what is written, and the only one that is read.
    """

    record: type[RecordT]
    error: type[QuantguardError]
    damaged: str
    missing: str | None = None
    unmerged: str | None = None
    foreign: Mapping[str, str] = dataclasses.field(default_factory=dict)
    rows: str | None = None
    version: int = _FIRST_VERSION

    def read(self, path: pathlib.Path) -> RecordT:
        """Read a file; raise ``error``, with what to type, where it is missing or is not what was written."""
        if self.missing is not None and not path.exists():
            raise self.error(self.missing.format(path=path))
        try:
            return self.parse(read_text(path))
        except NewerError as error:
            raise self.error(_NEWER.format(path=path, problem=error)) from error
        except ConflictError as error:
            raise self.error((self.unmerged or self.damaged).format(path=path, problem=error)) from error
        except RecordError as error:
            problem = f"{error}".rstrip(".") + self._of_another_kind(path)
            raise self.error(self.damaged.format(path=path, problem=problem)) from error

    def parse(self, text: str) -> RecordT:
        """Return what a text holds; raise RecordError, in words that end a sentence, for anything else."""
        table = unseal(parse_json(text))
        version = table.pop(_VERSION, _FIRST_VERSION)
        if type(version) is int and version > self.version:
            raise NewerError(f"its {_VERSION} is {version}, and this one reads {self.version}")
        if type(version) is not int or version < self.version:
            raise RecordError(f"its {_VERSION} is {version!r}, and this quantguard reads {self.version}")
        return from_json(self.record, table, where="it")

    def dump(self, record: RecordT) -> str:
        """Return the text of a file."""
        table = seal({_VERSION: self.version, **to_json(record)})
        if self.rows is None:
            return json.dumps(table, indent=1, ensure_ascii=False) + "\n"
        lines = [f"    {_line(row)}" for row in table.pop(self.rows)]
        head = json.dumps(table, indent=2, sort_keys=True, ensure_ascii=False)[:-2]
        return f'{head},\n  "{self.rows}": [\n' + ",\n".join(lines) + "\n  ]\n}\n"

    def write(self, path: pathlib.Path, record: RecordT) -> None:
        """Put a file in its place atomically, and down to the disk."""
        write_whole(path, self.dump(record))

    def _of_another_kind(self, path: pathlib.Path) -> str:
        """Say what to type where a file is of another kind, which people take for this one."""
        try:
            table = parse_json(read_text(path))
        except RecordError:
            return ""
        keys = table.keys() if isinstance(table, dict) else ()
        return "".join(f". {advice.format(path=path)}" for key, advice in self.foreign.items() if key in keys)


def seal(table: dict[str, Any]) -> dict[str, Any]:
    """Return a table with the hash of all else in it, by which a change of it is noticed."""
    return {**table, _SEAL: digest(table)}


def unseal(table: Any) -> dict[str, Any]:
    """Return a sealed table without its hash; raise RecordError where there is none, or another."""
    if not isinstance(table, dict) or _SEAL not in table:
        raise RecordError(f"it has no {_SEAL}")
    rest = {key: value for key, value in table.items() if key != _SEAL}
    if table[_SEAL] != digest(rest):
        raise RecordError(f"it was edited: its content does not have the {_SEAL} it states")
    return rest


def _line(row: Any) -> str:
    return json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(", ", ": "))
