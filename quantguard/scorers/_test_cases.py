"""The test cases of LiveCodeBench, half of which are compressed pickles: they are unpacked without being executed."""

import base64
import binascii
import json
import zlib
from typing import Any, NamedTuple

from quantguard.errors import DataError

_LARGEST_BYTES = 256 << 20
# The instructions of a pickle that holds one text.
_TEXTS = {"UNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINUNICODE"}
_AROUND_TEXTS = {"PROTO", "FRAME", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "STOP"}


class ProgramCase(NamedTuple):
    """The input of a program, and the output that is expected."""

    input: str
    output: str


def unpack(packed: str, *, where: str) -> list[ProgramCase]:
    """Unpack the cases from a text: a JSON list, or one in a pickle that is compressed and encoded in base64.

    Raises DataError, which starts with ``where``, for anything else, such as a pickle that would call something, or
    more than 256 MiB.
    """
    text = packed if packed.lstrip().startswith("[") else _decompress(packed, where)
    try:
        rows = json.loads(text)
        return [ProgramCase(_text(row, "input"), _text(row, "output")) for row in rows]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(f"{where}: its test cases are no JSON list with input and output: {error!r}") from error


def _text(row: Any, name: str) -> str:
    if not isinstance(row[name], str):
        raise TypeError(f"{name} is a {type(row[name]).__name__}")
    return str(row[name])


def _decompress(packed: str, where: str) -> str:
    try:
        return _pickled_text(_inflate(base64.b64decode(packed, validate=True)))
    except (binascii.Error, zlib.error, ValueError) as error:
        raise DataError(f"{where}: its test cases do not unpack: {error}") from error


def _inflate(data: bytes) -> bytes:
    engine = zlib.decompressobj()
    inflated = engine.decompress(data, _LARGEST_BYTES)
    if engine.unconsumed_tail or not engine.eof:
        raise ValueError(f"they are cut off, or more than {_LARGEST_BYTES} bytes")
    return inflated


def _pickled_text(data: bytes) -> str:
    """Return the text in a pickle, which is parsed and never loaded; raise ValueError for any other pickle."""
    import pickletools  # noqa: PLC0415 - no other benchmark needs it

    texts = []
    for instruction, argument, _ in pickletools.genops(data):
        if instruction.name in _TEXTS:
            texts.append(str(argument))
        elif instruction.name not in _AROUND_TEXTS:
            raise ValueError(f"the pickle has the instruction {instruction.name}, and a text was expected")
    if len(texts) != 1:
        raise ValueError(f"the pickle has {len(texts)} texts, and one was expected")
    return texts[0]
