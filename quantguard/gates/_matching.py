"""Does a baseline belong to what is about to run, and which of its items does a gate run?

Draws are nested: a smaller one is the beginning of a larger one. So gates that differ in ``subset=`` share a baseline,
that of the largest, and each runs the items of its own draw.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any, Protocol

from quantguard.baselines import Baseline, baseline_path, read
from quantguard.baselines.survey import Place
from quantguard.errors import BaselineError
from quantguard.gates._session import Session, SupportsDecoding

_UPDATE_CHANGED = "pytest --quantguard --quantguard-update=changed"


class LackingItemsError(BaselineError):
    """Report a baseline that holds a smaller draw than the gate asks for, and is of the same run otherwise."""


class SupportsSubject(SupportsDecoding, Protocol):
    """The fields of a gate that say what it runs."""

    @property
    def benchmark(self) -> str:
        """The benchmark."""

    @property
    def subset(self) -> int | None:
        """The number of items of a new baseline; absent, the benchmark's own."""


def require_same(
    baseline: Baseline, gate: SupportsSubject, session: Session, path: str, *, growing: bool = False
) -> tuple[str, ...]:
    """Return the items that a gate runs of a baseline.

    Raises BaselineError where the baseline belongs to something else than what is about to run, and LackingItemsError
    where nothing is wrong but that it has too few items. Without a subset any number will do, unless the baseline is
    ``growing``: an update measures the benchmark's usual number.
    """
    for name, stated, actual in (
        ("platform", baseline.platform, session.platform),
        ("model", baseline.model, session.model),
        ("recipe", baseline.recipe, session.recipe),
        ("benchmark", baseline.benchmark, subject_of(gate)),
    ):
        if stated != actual:
            raise BaselineError(
                f"the baseline {path} is foreign: it is for {name} {stated!r}, and the gate is for {actual!r}."
                f" Put it where it belongs, or type: {_UPDATE_CHANGED}"
            )
    now = session.fingerprint(gate.benchmark, session.config(gate.benchmark, gate))
    changed = baseline.fingerprint.differences(now)
    if changed:
        raise BaselineError(
            f"the baseline {path} is stale: {'; '.join(map(str, changed))}. If that is meant, type: {_UPDATE_CHANGED}"
        )
    drawn = session.draw(gate.benchmark, gate.subset) if growing or gate.subset is not None else ()
    return items_of(baseline.sample_ids, drawn, gate.subset, path)


def items_of(stored: Sequence[str], drawn: Sequence[str], subset: int | None, path: str) -> tuple[str, ...]:
    """Return the items that a gate runs of those ``stored`` in a baseline: its own draw, where the baseline holds it.

    A gate without a subset runs all of a baseline that holds the benchmark's usual draw. A baseline of another draw,
    such as one that was accepted from a record, is run whole by a gate of as many items. Raises LackingItemsError where
    the baseline holds a part of the draw, and BaselineError where the one does not nest in the other.
    """
    if set(drawn) <= set(stored):
        return tuple(stored if subset is None else drawn)
    if set(stored) < set(drawn):
        number = f"subset={subset}" if subset is not None else f"the benchmark's {len(drawn)}"
        raise LackingItemsError(
            f"the baseline {path} is stale: it has {len(stored)} items, and the gate asks for {number}. Type:"
            f" {_UPDATE_CHANGED}; or mark the gate with subset={len(stored)}"
        )
    if subset in (None, len(stored)):
        return tuple(stored)
    raise BaselineError(
        f"the baseline {path} has {len(stored)} items of another draw, and some of subset={subset} are not among them."
        f" Mark the gate with subset={len(stored)}, which runs them all; or remove the file and type: pytest"
        " --quantguard --quantguard-update=new"
    )


def items_to_measure(previous: Sequence[str], drawn: Sequence[str], subset: int | None, path: str) -> tuple[str, ...]:
    """Return the items of a new baseline in the place of ``previous`` ones: never fewer than those.

    Raises BaselineError where the draw is smaller and does not nest.
    """
    try:
        return items_of(previous, drawn, subset, path) if subset is None else _larger(previous, drawn, subset, path)
    except LackingItemsError:
        return tuple(drawn)


def _larger(previous: Sequence[str], drawn: Sequence[str], subset: int, path: str) -> tuple[str, ...]:
    if len(drawn) > len(previous):
        return tuple(drawn)
    items_of(previous, drawn, subset, path)
    return tuple(previous)


def baseline_of(path: pathlib.Path, session: Session) -> Baseline:
    """Return a baseline that this run has measured, or the stored one; raises BaselineError as ``read`` does."""
    measured = session.measured.get(str(path))
    return read(path) if measured is None else measured


def place_of(gate: SupportsSubject, session: Session) -> Place:
    """Return where the baseline of a gate on a benchmark belongs."""
    subject = subject_of(gate)
    path = baseline_path(
        session.baselines, platform=session.platform, model=session.model, recipe=session.recipe, benchmark=subject
    )
    return Place(
        path=str(path),
        platform=session.platform,
        model=session.model,
        recipe=session.recipe,
        benchmark=subject,
        fingerprint=session.fingerprint(gate.benchmark, session.config(gate.benchmark, gate)),
        reference=session.reference,
    )


def subject_of(gate: SupportsSubject) -> str:
    """Name what is measured: the benchmark, and every way in which the gate decodes that is not the usual one."""
    kind: Any = type(gate)
    usual = {field.name: field.default for field in dataclasses.fields(kind)}
    given = {"t": "temperature", "p": "top_p", "e": "epochs", "n": "max_new_tokens"}
    parts = [
        f"{letter}{_exactly(getattr(gate, name))}"
        for letter, name in given.items()
        if getattr(gate, name) != usual[name]
    ]
    return "@".join([gate.benchmark, *([gate.mode] if gate.mode else []), *parts])


def _exactly(value: float) -> str:
    """Word a number in the shortest way that no other number has."""
    return short if float(short := f"{value:g}") == value else str(value)
