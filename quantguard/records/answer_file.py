"""The SQLite file of kept answers: many processes read and write it at once, and a crash loses nothing committed.

A row of ``answers`` is one answer, sealed with a hash of what it is and what it is an answer to; it is committed as
soon as it is given. ``runs`` has a row for everything that answers depend on, named by its hash.
"""

import contextlib
import datetime as dt
import json
import pathlib
import sqlite3
import time
from collections.abc import Iterator
from typing import Any, Self

import filelock

from quantguard.errors import MeasurementError, RecordError
from quantguard.records import Generation, from_json, to_json
from quantguard.records.files import parse_json
from quantguard.records.sealed_file import seal, unseal

# Where it lies below the cache, and what it is called.
FOLDER, NAME = "generations", "answers.sqlite"
_VERSION = 1
# A writer holds the file for the moment of one answer.
_LOCK_SECONDS = 60
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS runs (run TEXT PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (
    run TEXT NOT NULL, request TEXT NOT NULL, at REAL NOT NULL, row BLOB NOT NULL, PRIMARY KEY (run, request)
) WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
COMMIT;
"""
# The primary codes that tell of the place and not of the content: no permission, locked, read-only, full, no such
# folder, a file system without locks.
_OF_THE_PLACE = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}


class AnswerFile:
    """An open file; it is made where it is not there.

    Every method raises OSError where the file cannot be read or written, and MeasurementError where it is damaged.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._in_words():
            # Answers may come from another thread than the one that asks, never from two at once.
            self._connection = sqlite3.connect(
                path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False
            )
        try:
            with self._in_words():
                self._prepare()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it; the last process that does takes the log of recent answers into the file."""
        self._connection.close()

    def _prepare(self) -> None:
        # SQLite itself does not wait where two processes change the journal of a new file at once.
        with filelock.FileLock(self._path.with_suffix(".lock"), timeout=_LOCK_SECONDS, fallback_to_soft=False):
            # Where the file system has no shared memory, SQLite stays with the journal that it has: slower, as safe.
            self._connection.execute("PRAGMA journal_mode = WAL")
            # What a crash of the process leaves is whole; only the last answers before a power cut may be missing.
            self._connection.execute("PRAGMA synchronous = NORMAL")
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                self._connection.executescript(_SCHEMA)
            elif version != _VERSION:
                raise self._damaged(f"they are of version {version}, and this quantguard reads {_VERSION}")

    def began(self, run: str) -> dt.datetime | None:
        """Return when the first answer of a run was asked for; None where nothing is kept of it."""
        with self._in_words():
            found = self._connection.execute("SELECT row FROM runs WHERE run = ?", (run,)).fetchone()
        if found is None:
            return None
        with self._in_words():
            return dt.datetime.fromisoformat(self._opened(found[0], run)["began"])

    def begin(self, run: str, began: dt.datetime, facts: dict[str, Any]) -> None:
        """Begin a run anew: what was kept of it goes."""
        row = _row({"run": run, "began": began.isoformat(), "facts": facts})
        with self._in_words(), self._transaction():
            self._connection.execute("DELETE FROM answers WHERE run = ?", (run,))
            self._connection.execute("INSERT OR REPLACE INTO runs VALUES (?, ?)", (run, row))

    def answers(self, run: str) -> dict[str, Generation]:
        """Return the answers of a run by the names of their requests."""
        with self._in_words():
            rows = self._connection.execute("SELECT row FROM answers WHERE run = ?", (run,)).fetchall()
            tables = [self._opened(row, run) for (row,) in rows]
            return {str(table["request"]): from_json(Generation, table["generation"]) for table in tables}

    def put(self, run: str, request: str, generation: Generation) -> None:
        """Write an answer down: it is committed when this returns."""
        row = _row({"run": run, "request": request, "generation": to_json(generation)})
        with self._in_words():
            self._connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", (run, request, time.time(), row)
            )

    def drop(self, run: str) -> None:
        """Remove a run and its answers."""
        with self._in_words(), self._transaction():
            self._connection.execute("DELETE FROM answers WHERE run = ?", (run,))
            self._connection.execute("DELETE FROM runs WHERE run = ?", (run,))

    def count_of_runs_since(self, seconds: float) -> int:
        """Count all answers of the runs to which one was added since a time in seconds of the epoch."""
        with self._in_words():
            counted = self._connection.execute(
                "SELECT count(*) FROM answers WHERE run IN (SELECT run FROM answers WHERE at >= ?)", (seconds,)
            )
            return int(counted.fetchone()[0])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:
            yield

    def _opened(self, row: Any, run: str) -> dict[str, Any]:
        table = unseal(parse_json(bytes(row).decode("ascii")))
        if table["run"] != run:
            raise self._damaged("a row is of another run")
        return table

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
            if code & 0xFF in _OF_THE_PLACE and code != sqlite3.SQLITE_IOERR_SHORT_READ:
                raise OSError(f"{error}: {self._path}") from error
            raise self._damaged(error) from error
        except (ValueError, KeyError, TypeError, RecordError) as error:
            raise self._damaged(error) from error
        except filelock.Timeout as error:
            raise OSError(f"another process holds {self._path}") from error

    def _damaged(self, problem: object) -> MeasurementError:
        return MeasurementError(f"the kept answers in {self._path} are damaged: {problem}. Type: rm -r '{self._path}'*")


def count_of_runs_since(path: pathlib.Path, seconds: float) -> int:
    """Count all answers in a file, where there is one, of the runs to which one was added since a time.

    The time is in seconds of the epoch. Raises what :class:`AnswerFile` does.
    """
    if not path.is_file():
        return 0
    with AnswerFile(path) as file:
        return file.count_of_runs_since(seconds)


def _row(table: dict[str, Any]) -> bytes:
    # Half of a character, which a model can write, is an escape in ASCII.
    return json.dumps(seal(table)).encode("ascii")
