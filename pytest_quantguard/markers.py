"""Gates as pytest markers: ``@quantguard.accuracy(tol=0.045)``."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import pytest

from quantguard import registry
from quantguard.errors import UsageError

PREFIX = "quantguard_"


@functools.cache
def gate_marker(name: str) -> Callable[..., pytest.MarkDecorator]:
    """Return the decorator of a kind of gate; its keywords are checked where it is written."""

    def mark(**keywords: Any) -> pytest.MarkDecorator:
        gate = make_gate(name, keywords)
        return getattr(pytest.mark, PREFIX + name)(gate)  # type: ignore[no-any-return]

    mark.__name__ = name
    mark.__doc__ = registry.gates[name].Gate.__doc__
    return mark


def make_gate(name: str, keywords: dict[str, Any]) -> Any:
    """Build a gate from its keywords; raise UsageError naming what does not fit."""
    kind = registry.gates[name].Gate
    known = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(keywords) - set(known))
    if unknown:
        raise UsageError(f"{name}({', '.join(unknown)}=…): unknown keyword; possible: {', '.join(known)}")
    missing = [key for key, field in known.items() if field.default is dataclasses.MISSING and key not in keywords]
    if missing:
        raise UsageError(f"{name}(): {missing[0]} is needed")
    return kind(**keywords)


def gates_of(item: pytest.Item) -> dict[str, Any]:
    """Return the gates that mark a test, by kind, the outermost first; a kind given twice keeps the closest."""
    found: dict[str, Any] = {}
    for mark in item.iter_markers():
        kind = mark.name.removeprefix(PREFIX)
        if mark.name.startswith(PREFIX) and kind in registry.gates and kind not in found:
            found[kind] = mark.args[0]
    return dict(reversed(found.items()))


def is_gate(item: pytest.Item) -> bool:
    """Tell whether a test is a gate: it bears a gate's marker or asks for the ``guard``."""
    marked = any(mark.name.startswith(PREFIX) for mark in item.iter_markers())
    return marked or "guard" in getattr(item, "fixturenames", ())


def registration_lines() -> list[str]:
    """Return the lines that make the markers known to pytest, so that --strict-markers accepts them."""
    return [
        f"{PREFIX}{name}(gate): use @quantguard.{name}(...), see the README of quantguard" for name in registry.gates
    ]
