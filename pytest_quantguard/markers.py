"""Gates as pytest markers: ``@quantguard.accuracy(tol=0.045)``.

All kinds share one marker that carries the kind and the gate: pytest can be told of it without looking for members,
and -m "quantguard_gate(kind='latency')" chooses the tests with a gate of a kind.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "quantguard_gate"
REGISTRATION = f"{NAME}(kind, gate): made by @quantguard.accuracy(...) and its siblings, see the README of quantguard"


@functools.cache
def gate_marker(kind: str) -> Callable[..., pytest.MarkDecorator]:
    """Return the decorator of a kind of gate; its keywords are checked where it is written."""

    def mark(**keywords: Any) -> pytest.MarkDecorator:
        return getattr(pytest.mark, NAME)(kind=kind, gate=make_gate(kind, keywords))  # type: ignore[no-any-return]

    mark.__name__ = kind
    return mark


def make_gate(kind: str, keywords: dict[str, Any]) -> Any:
    """Build a gate from its keywords; raise UsageError naming what does not fit."""
    import dataclasses  # noqa: PLC0415 - an unrelated run does not pay for what only gates need

    from quantguard.errors import RecordError, UsageError  # noqa: PLC0415
    from quantguard.gates import members as kinds  # noqa: PLC0415
    from quantguard.records import from_json  # noqa: PLC0415

    make = kinds[kind].Gate
    known = {field.name: field for field in dataclasses.fields(make)}
    unknown = sorted(set(keywords) - set(known))
    if unknown:
        raise UsageError(f"{kind}({', '.join(unknown)}=…): unknown keyword; possible: {', '.join(known)}")
    missing = [key for key, field in known.items() if field.default is dataclasses.MISSING and key not in keywords]
    if missing:
        raise UsageError(f"{kind}(): {missing[0]} is needed")
    # The gate's own words for a value that cannot be meant come first, then whether every value is of its type.
    with contextlib.suppress(TypeError):
        make(**keywords)
    try:
        return from_json(make, keywords, where=kind)
    except RecordError as error:
        raise UsageError(str(error)) from error


def gates_of(item: pytest.Item) -> dict[str, Any]:
    """Return the gates that mark a test, by kind, the outermost first; a test's own replaces that of its module.

    Raises UsageError for two of a kind at the same place.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for node, mark in item.iter_markers_with_node(NAME):
        kind, gate = mark.kwargs["kind"], mark.kwargs["gate"]
        if kind in found and found[kind][0] is node:
            from quantguard.errors import UsageError  # noqa: PLC0415

            raise UsageError(f"two {kind} gates mark {node.name}: one would hide the other; write a test for each")
        found.setdefault(kind, (node, gate))
    return {kind: gate for kind, (_, gate) in reversed(found.items())}


def measuring_order(item: pytest.Item) -> tuple[float, float]:
    """Return a key by which, of gates that share a baseline, the one measures that asks most of it.

    That is the gate of most items, a benchmark's usual number counting as the largest, and of the least tolerance.
    """
    from quantguard.errors import UsageError  # noqa: PLC0415

    try:
        gate = gates_of(item).get("accuracy")
    except UsageError:
        # The test itself says what is wrong.
        gate = None
    if gate is None:
        return (0.0, 0.0)
    return (-float(gate.subset or "inf"), min(gate.rule.tol or 1.0, gate.rtol or 1.0))


def is_gate(item: pytest.Item) -> bool:
    """Tell whether a test is a gate: it bears a gate's marker or asks for our fixture ``guard``."""
    if item.get_closest_marker(NAME) is not None:
        return True
    described: Any = getattr(item, "_fixtureinfo", None)
    definitions: Any = described.name2fixturedefs.get("guard") if described else None
    return bool(definitions) and definitions[-1].func.__module__ == "pytest_quantguard.fixtures"
