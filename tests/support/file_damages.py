"""Damages of files, drawn by a seed: what disks, editors, merges and people do to them."""

import copy
import json
import pathlib
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from quantguard.records.sealed_file import seal


class Damage(NamedTuple):
    """What was done, and the bytes that are left; None where a folder stands in the file's place.

    ``resealed`` is set where the hash was made to fit again: what the file says then is another thing, and no damage.
    """

    name: str
    content: bytes | None
    resealed: bool = False


RAW = "\x00raw:"
WRONG: tuple[Any, ...] = (
    None,
    True,
    "x",
    "",
    "\ud83d",
    -1,
    0.5,
    10**400,
    [],
    {},
    [[]],
    f"{RAW}NaN",
    f"{RAW}-Infinity",
    f"{RAW}1e999",
    f"{RAW}{'9' * 5000}",
)


def of_bytes(content: bytes, rng: random.Random, count: int) -> Iterator[Damage]:
    """Yield each whole-file damage once, and ``count`` random ones of single bytes."""
    # A database is no text.
    text = content.decode(errors="replace")
    yield Damage("emptied", b"")
    yield Damage("a folder in its place", None)
    yield Damage("a byte order mark", b"\xef\xbb\xbf" + content)
    yield Damage("UTF-16", text.encode("utf-16"))
    yield Damage("windows' line ends", content.replace(b"\n", b"\r\n"))
    yield Damage("written twice", content + content)
    yield Damage("deep nesting", b"[" * 100_000)
    yield Damage("deep tables", b'{"a":' * 100_000)
    yield Damage("deep within", content[:-3] + b', "x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}")
    yield Damage("zeros at the end", content + bytes(64))
    yield Damage("a merge", b"<<<<<<< HEAD\n" + content + b"=======\n" + content + b">>>>>>> other\n")
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: content[: at(len(content))],
        lambda: content[: (i := at(len(content)))] + bytes([content[i] ^ 1 << rng.randrange(8)]) + content[i + 1 :],
        lambda: content[: (i := at(len(content)))] + b"\xff" + content[i:],
        lambda: content[: (i := at(len(content)))] + content[i + 1 :],
        lambda: content[: (i := at(len(content)))] + content[(j := i + at(200)) :] + content[i:j],
        lambda: content[: (i := at(len(content)))] + bytes(20) + content[i + 20 :],
    )
    names = ("cut off", "a bit flipped", "a byte that is no UTF-8", "a byte lost", "a piece moved", "zeros")

    def at(length: int) -> int:
        # Heads hold what decides: half of the damages are there.
        return rng.randrange(min(length, 2000) if rng.random() < 0.5 else length)

    for _ in range(count):
        kind = rng.randrange(len(kinds))
        yield Damage(names[kind], kinds[kind]())


def of_json(content: bytes, rng: random.Random, count: int) -> Iterator[Damage]:
    """Yield ``count`` edits of the values of a JSON file, every third with a hash that fits again."""
    table = json.loads(content)
    for turn in range(count):
        changed = copy.deepcopy(table)
        name = _edit(changed, rng)
        resealed = turn % 3 == 0
        if resealed:
            changed.pop("sha256", None)
            # What has no JSON cannot be hashed; numbers of such size have no text.
            plain = json.loads(
                _text(changed).replace("1e999", "NaN"), parse_int=lambda _: 0, parse_constant=lambda _: 0
            )
            changed["sha256"] = seal(plain)["sha256"]
        yield Damage(name, _text(changed).encode(errors="backslashreplace"), resealed)
    yield Damage("keys in another order", _text(dict(reversed(table.items()))).encode())
    yield Damage("white space", json.dumps(table, indent=7).encode())
    head, _, rest = content.decode().partition(":")
    yield Damage("a key twice", f"{head}: 0, {head.strip().strip('{')}:{rest}".encode())


def _text(table: Any) -> str:
    text = json.dumps(table)
    escaped = json.dumps(RAW)[1:-1]
    while (start := text.find(f'"{escaped}')) >= 0:
        end = text.index('"', start + 1)
        text = text[:start] + text[start + 1 + len(escaped) : end] + text[end + 1 :]
    return text


def _edit(table: Any, rng: random.Random) -> str:  # noqa: PLR0911 - one return a kind
    """Change one place of nested values, and say how."""
    places = list(_places(table))
    holder, key = rng.choice(places)
    kind = rng.randrange(7)
    if kind == 0:
        del holder[key]
        return "something dropped"
    if kind == 1:
        holder[key] = rng.choice(WRONG)
        return "a wrong value"
    if kind == 2:
        other, place = rng.choice(places)
        holder[key], other[place] = copy.deepcopy(other[place]), copy.deepcopy(holder[key])
        return "two values swapped"
    if kind == 3 and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
        return "an entry twice"
    if kind == 4 and isinstance(holder, list):
        rng.shuffle(holder)
        return "entries in another order"
    if kind == 5 and isinstance(holder, dict):
        holder[f"{key}s"] = holder.pop(key)
        return "a key misspelt"
    if isinstance(holder, dict):
        holder["unknown"] = 1
        return "a key that nobody knows"
    holder[key] = rng.choice(WRONG)
    return "a wrong value"


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        entries: Any = value.items()
    elif isinstance(value, list):
        entries = enumerate(value)
    else:
        return
    for key, entry in entries:
        yield value, key
        yield from _places(entry)


def plant(path: pathlib.Path, damage: Damage) -> None:
    """Put the damaged content, or a folder, in the place of a file."""
    if path.is_dir():
        path.rmdir()
    if damage.content is None:
        path.unlink(missing_ok=True)
        path.mkdir()
    else:
        path.write_bytes(damage.content)
