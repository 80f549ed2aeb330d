"""The test cases of LiveCodeBench, half of which come as compressed pickles: unpacked without running anything."""

import base64
import binascii
import io
import json
import pickle
import zlib
from typing import Any, NamedTuple, NoReturn

from quantguard.errors import DataError

_LARGEST_BYTES = 256 << 20


class Case(NamedTuple):
    """What a program is given, and what it is to answer."""

    input: str
    output: str


def unpack(packed: str, *, where: str) -> list[Case]:
    """Return the cases of a text: a JSON list, or that in a pickle, compressed and in base64.

    Raises DataError, which starts with ``where``, for anything else, such as a pickle that names code to run, or more
    than 256 MiB.
    """
    text = packed if packed.lstrip().startswith("[") else _decompress(packed, where)
    try:
        rows = json.loads(text)
        return [Case(_text(row, "input"), _text(row, "output")) for row in rows]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(f"{where}: its test cases are no JSON list with input and output: {error!r}") from error


def _text(row: Any, name: str) -> str:
    if not isinstance(row[name], str):
        raise TypeError(f"{name} is a {type(row[name]).__name__}")
    return str(row[name])


def _decompress(packed: str, where: str) -> str:
    try:
        engine = zlib.decompressobj()
        data = engine.decompress(base64.b64decode(packed, validate=True), _LARGEST_BYTES)
        if engine.unconsumed_tail or not engine.eof:
            raise DataError(f"{where}: its test cases are cut off, or unpack to more than {_LARGEST_BYTES} bytes")
        text = _Plain(io.BytesIO(data)).load()
    # A damaged pickle may raise nearly anything, and what matters is that nothing of it is run.
    except (binascii.Error, zlib.error, pickle.UnpicklingError, ValueError, LookupError, EOFError, TypeError) as error:
        raise DataError(f"{where}: its test cases do not unpack: {error!r}") from error
    except (AttributeError, MemoryError, OverflowError) as error:
        raise DataError(f"{where}: its test cases do not unpack: {error!r}") from error
    if not isinstance(text, str):
        raise DataError(f"{where}: its test cases unpack to a {type(text).__name__}, and a text was expected")
    return text


class _Plain(pickle.Unpickler):
    """Unpickles texts and containers, and refuses every class and function."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it names {module}.{name}, and test cases name no code")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError(f"it refers to {pid!r}, which is elsewhere")
