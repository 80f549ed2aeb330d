"""Records to JSON values and back, refusing every key, type or value that the record does not have."""

import dataclasses
import difflib
import functools
import hashlib
import json
import math
import types
import typing
from typing import Any, TypeVar

from quantguard.errors import QuantguardError, RecordError

RecordT = TypeVar("RecordT")


def to_json(record: Any) -> Any:
    """Turn a record, or a container of records, into plain JSON values."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {field.name: to_json(getattr(record, field.name)) for field in dataclasses.fields(record)}
    if isinstance(record, dict):
        return {key: to_json(value) for key, value in record.items()}
    if isinstance(record, (list, tuple)):
        return [to_json(value) for value in record]
    return record


def from_json(cls: type[RecordT], value: Any, *, where: str = "") -> RecordT:
    """Build a record of ``cls`` from JSON values; raise RecordError naming the first key that does not fit."""
    where = where or cls.__name__
    if not isinstance(value, dict):
        raise RecordError(f"{where}: expected a table of {cls.__name__}, found {_kind(value)}")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in value:
        if key not in fields:
            raise RecordError(f"{where}: unknown key {key!r}.{_hint(key, fields)} Possible: {', '.join(fields)}.")
    hints = _hints(typing.cast(type, cls))
    arguments = {key: _decode(hints[key], item, where=f"{where}.{key}") for key, item in value.items()}
    missing = [name for name, field in fields.items() if name not in value and _is_required(field)]
    if missing:
        raise RecordError(f"{where}: missing {', '.join(missing)}")
    try:
        return cls(**arguments)
    except RecordError:
        raise
    except QuantguardError as error:
        raise RecordError(f"{where}: {error}") from error


def digest(value: Any) -> str:
    """Hash JSON values to a sha256 hex digest that does not depend on the order of keys."""
    text = json.dumps(to_json(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # Half of a character, which a model can write, is hashed as well.
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


@functools.cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    """Return the types of a record's fields; working them out for every record would take most of the time."""
    return typing.get_type_hints(cls)


def _decode(hint: Any, value: Any, *, where: str) -> Any:  # noqa: PLR0911 - one return a kind of type
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _decode_optional(arguments, value, where=where)
    if hint is Any:
        return value
    if origin is typing.Literal:
        if value not in arguments or isinstance(value, bool) != isinstance(arguments[0], bool):
            found = repr(value) if isinstance(value, str) else _kind(value)
            raise RecordError(f"{where}: {found[:60]} is not one of {', '.join(map(repr, arguments))}")
        return value
    if origin is tuple:
        _expect(isinstance(value, (list, tuple)), where, "a list", value)
        return tuple(_decode(arguments[0], item, where=f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        _expect(isinstance(value, dict), where, "a table", value)
        return {key: _decode(arguments[1], item, where=f"{where}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return from_json(typing.cast(type, hint), value, where=where)
    return _decode_scalar(hint, value, where=where)


def _decode_optional(arguments: tuple[Any, ...], value: Any, *, where: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    present = [argument for argument in arguments if argument is not type(None)]
    for argument in present[:-1]:
        try:
            return _decode(argument, value, where=where)
        except RecordError:
            continue
    return _decode(present[-1], value, where=where)


def _decode_scalar(hint: Any, value: Any, *, where: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    fits = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    _expect(fits, where, {"str": "text", "int": "an integer"}.get(hint.__name__, hint.__name__), value)
    if isinstance(value, float) and not math.isfinite(value):
        raise RecordError(f"{where}: {value} is not a finite number")
    return value


def _expect(fits: bool, where: str, wanted: str, value: Any) -> None:  # noqa: FBT001 - a private guard
    if not fits:
        raise RecordError(f"{where}: expected {wanted}, found {_kind(value)}")


def _kind(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return f"{type(value).__name__} of {len(value)}"
    return "nothing" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"


def _hint(key: str, names: typing.Iterable[str]) -> str:
    close = difflib.get_close_matches(key, list(names), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
