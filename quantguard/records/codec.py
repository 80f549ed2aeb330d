"""Records to JSON values and back, refusing every key, type or value that the record does not have.

How a class is written and read is worked out once: a run carries tens of thousands of scores and answers.

It is not on msgspec. Its import would cost 15 ms of processor time, which is not what speaks against it: for frozen
dataclasses msgspec 0.22 ignores unknown fields, takes NaN, refuses a union of two records (the pending baseline of a
result) and lets an error of ``__post_init__`` through without its place; its paths have ``[...]`` for the key of a
table, and it names one missing field at a time. What would be needed beside it is a second walk over types and values,
which is all that this module is. Its structs do refuse unknown fields, and are no dataclasses, which all other code
takes records for.
"""

import dataclasses
import difflib
import functools
import hashlib
import json
import math
import operator
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from quantguard.errors import QuantguardError, RecordError

RecordT = TypeVar("RecordT")
_Decoder = Callable[[Any], Any]
_PLAIN = frozenset({str, int, float, bool, type(None)})


class _MisfitError(RecordError):
    """A value that does not fit; the path to it is put together on the way out."""

    def __init__(self, problem: str, where: str = "") -> None:
        super().__init__(problem)
        self.problem, self.where = problem, where

    def within(self, part: str) -> "_MisfitError":
        """Return the same, seen from one level further out."""
        return _MisfitError(self.problem, part + self.where)


def to_json(record: Any) -> Any:
    """Turn a record, or a container of records, into plain JSON values."""
    if isinstance(record, (list, tuple)):
        return [value if type(value) in _PLAIN else to_json(value) for value in record]
    if isinstance(record, dict):
        return {key: value if type(value) in _PLAIN else to_json(value) for key, value in record.items()}
    if not dataclasses.is_dataclass(record) or isinstance(record, type):
        return record
    names, read = _reader(type(record))
    values = zip(names, read(record), strict=True)
    return {name: value if type(value) in _PLAIN else to_json(value) for name, value in values}


def from_json(cls: type[RecordT], value: Any, *, where: str = "") -> RecordT:
    """Build a record of ``cls`` from JSON values; raise RecordError naming the first key that does not fit."""
    try:
        return typing.cast(RecordT, _record_decoder(typing.cast(type, cls))(value))
    except _MisfitError as misfit:
        raise RecordError(f"{where or cls.__name__}{misfit.where}: {misfit.problem}") from None


def digest(value: Any) -> str:
    """Hash JSON values to a sha256 hex digest that does not depend on the order of keys."""
    text = json.dumps(to_json(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # Half of a character, which a model can write, is hashed as well.
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


@functools.cache
def _reader(cls: type[Any]) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    """Return the names of a record's fields and what reads them all."""
    names = tuple(field.name for field in dataclasses.fields(cls))
    if len(names) > 1:
        return names, operator.attrgetter(*names)
    return names, lambda record: tuple(getattr(record, name) for name in names)


@functools.cache
def _record_decoder(cls: type[Any]) -> _Decoder:
    fields = dataclasses.fields(cls)
    hints = typing.get_type_hints(cls)
    decoders = {field.name: _decoder(hints[field.name]) for field in fields}
    as_it_is = {field.name: _taken_as_they_are(hints[field.name]) for field in fields}
    required = [field.name for field in fields if _is_required(field)]

    def decode(value: Any) -> Any:
        _expect(isinstance(value, dict), f"a table of {cls.__name__}", value)
        if not value.keys() <= decoders.keys():
            key = next(key for key in value if key not in decoders)
            raise _MisfitError(f"unknown key {key!r}.{_hint(key, decoders)} Possible: {', '.join(decoders)}.")
        arguments = {}
        for key, item in value.items():
            try:
                arguments[key] = item if type(item) in as_it_is[key] else decoders[key](item)
            except _MisfitError as misfit:
                raise misfit.within(f".{key}") from None
        if missing := [name for name in required if name not in arguments]:
            raise _MisfitError(f"missing {', '.join(missing)}")
        try:
            return cls(**arguments)
        except RecordError:
            raise
        except QuantguardError as error:
            raise _MisfitError(str(error)) from error

    return decode


def _taken_as_they_are(hint: Any) -> frozenset[type]:
    """Return the types of values that need no look: all text, whole numbers, truths, and absence where allowed."""
    hints = set(typing.get_args(hint)) if typing.get_origin(hint) in (typing.Union, types.UnionType) else {hint}
    return frozenset(hints & {str, int, bool, type(None)})


@functools.cache
def _decoder(hint: Any) -> _Decoder:
    """Return what turns a JSON value into one of a type, or raises _MisfitError."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _union_decoder(arguments)
    if hint is Any:
        return lambda value: value
    if origin is typing.Literal:
        return functools.partial(_decode_literal, arguments)
    if origin is tuple:
        return functools.partial(_decode_list, _decoder(arguments[0]))
    if origin is dict:
        return functools.partial(_decode_table, _decoder(arguments[1]))
    return (
        _record_decoder(typing.cast(type, hint))
        if dataclasses.is_dataclass(hint)
        else functools.partial(_decode_scalar, hint)
    )


def _union_decoder(arguments: tuple[Any, ...]) -> _Decoder:
    optional = type(None) in arguments
    *others, last = [_decoder(argument) for argument in arguments if argument is not type(None)]

    def decode(value: Any) -> Any:
        if value is None and optional:
            return None
        for other in others:
            try:
                return other(value)
            except RecordError:
                continue
        return last(value)

    return decode


def _decode_literal(arguments: tuple[Any, ...], value: Any) -> Any:
    if value not in arguments or isinstance(value, bool) != isinstance(arguments[0], bool):
        found = repr(value) if isinstance(value, str) else _kind(value)
        raise _MisfitError(f"{found[:60]} is not one of {', '.join(map(repr, arguments))}")
    return value


def _decode_list(decode: _Decoder, value: Any) -> tuple[Any, ...]:
    _expect(isinstance(value, (list, tuple)), "a list", value)
    decoded: list[Any] = []
    try:
        for item in value:
            decoded.append(decode(item))  # noqa: PERF401 - its length says where an item did not fit
    except _MisfitError as misfit:
        raise misfit.within(f"[{len(decoded)}]") from None
    return tuple(decoded)


def _decode_table(decode: _Decoder, value: Any) -> dict[str, Any]:
    _expect(isinstance(value, dict), "a table", value)
    decoded = {}
    for key, item in value.items():
        try:
            decoded[key] = decode(item)
        except _MisfitError as misfit:
            raise misfit.within(f".{key}") from None
    return decoded


def _decode_scalar(hint: Any, value: Any) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    fits = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    _expect(fits, {"str": "text", "int": "an integer"}.get(hint.__name__, hint.__name__), value)
    if isinstance(value, float) and not math.isfinite(value):
        raise _MisfitError(f"{value} is not a finite number")
    return value


def _expect(fits: bool, wanted: str, value: Any) -> None:  # noqa: FBT001 - a private guard
    if not fits:
        raise _MisfitError(f"expected {wanted}, found {_kind(value)}")


def _kind(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return f"{type(value).__name__} of {len(value)}"
    return "nothing" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"


def _hint(key: str, names: typing.Iterable[str]) -> str:
    close = difflib.get_close_matches(key, list(names), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
