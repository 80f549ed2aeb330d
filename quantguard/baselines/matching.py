"""Does a baseline belong to what is about to run, and which of its items does a gate run?

Draws are nested: a smaller one is the beginning of a larger one. So gates that differ in ``subset=`` share a baseline,
that of the largest, and each runs the items of its own draw.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Literal

from quantguard.baselines.record import Baseline
from quantguard.baselines.store import UPDATE_HINT, BaselineLocation, read
from quantguard.benchmarks import Task
from quantguard.errors import BaselineError

_UPDATE_CHANGED = UPDATE_HINT.format("changed").removeprefix("Type: ")


class LackingItemsError(BaselineError):
    """Report a baseline that holds a smaller draw than the gate asks for, and is of the same run otherwise."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredBaseline:
    """What there is at the location of a gate's baseline."""

    location: BaselineLocation
    """Where it belongs, and what it has to be of."""
    baseline: Baseline | None
    """What was read, or measured earlier in this run; absent where there is nothing, or nothing that can be read."""
    measured: bool
    """Whether it was measured earlier in this run."""
    items: tuple[str, ...]
    """The items that the gate runs; none where there is a problem."""
    notes: tuple[str, ...]
    """What a reader should know of them."""
    problem: BaselineError | None
    """Why the gate cannot be judged by it, absent where it can."""

    def require(self) -> Baseline:
        """Return the baseline that the gate is judged by; raise BaselineError where it cannot be."""
        if self.problem is not None:
            raise self.problem
        assert self.baseline is not None
        return self.baseline

    def is_due(self, update: Literal["new", "changed", "all"] | None) -> bool:
        """Tell whether an update measures it anew.

        ``new`` means one that is missing or lacks items, ``changed`` also one that cannot be used as it is, ``all``
        every one; but what another gate of this run has measured is judged by, unless it lacks items.
        """
        if update is None:
            return False
        if self.problem is None:
            return update == "all" and not self.measured
        missing = not self.measured and not pathlib.Path(self.location.path).is_file()
        return missing or isinstance(self.problem, LackingItemsError) or update != "new"

    def to_replace(self, task: Task) -> tuple[Baseline | None, tuple[str, ...]]:
        """Return the baseline that a new one is compared with, and the items to measure, which are never fewer.

        A baseline that cannot be read, or is of other data, is none; as many items of the new data are measured.
        """
        drawn, previous = task.draw(task.subset), self.baseline
        if previous is None:
            return None, drawn
        if previous.fingerprint.question.data == self.location.fingerprint.question.data:
            return previous, items_to_measure(previous.sample_ids, drawn, task.subset, self.location.path)
        num_samples = len(task.benchmark.samples)
        return None, task.draw(min(num_samples, max(len(drawn), len(previous.sample_ids))))


def find(
    location: BaselineLocation, task: Task, measured: Mapping[str, Baseline], *, growing: bool = False
) -> StoredBaseline:
    """Look at the location of a gate's baseline; what this run has ``measured``, by path, comes before the disk.

    Without a subset any number of items will do, unless the baseline is ``growing``: an update measures the benchmark's
    usual number.
    """
    baseline = measured.get(location.path)
    known = baseline is not None
    items: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problem: BaselineError | None = None
    try:
        baseline = read(pathlib.Path(location.path)) if baseline is None else baseline
        items = _require_same(baseline, location, task, growing=growing)
        notes = _notes_on_size(items, task)
    except BaselineError as error:
        problem = error
    return StoredBaseline(
        location=location, baseline=baseline, measured=known, items=items, notes=notes, problem=problem
    )


def _require_same(baseline: Baseline, location: BaselineLocation, task: Task, *, growing: bool) -> tuple[str, ...]:
    """Return the items that a gate runs of a baseline; raise BaselineError for one of something else."""
    for name in ("platform", "model", "recipe", "benchmark"):
        stated, actual = getattr(baseline, name), getattr(location, name)
        if stated != actual:
            raise BaselineError(
                f"the baseline {location.path} is foreign: it is for {name} {stated!r}, and the gate is for {actual!r}."
                f" Put it where it belongs, or type: {_UPDATE_CHANGED}"
            )
    location.require_fingerprint(baseline.fingerprint)
    drawn = task.draw(task.subset) if growing or task.subset is not None else ()
    return items_of(baseline.sample_ids, drawn, task.subset, location.path)


def _notes_on_size(items: Sequence[str], task: Task) -> tuple[str, ...]:
    """Say where a gate without a subset is judged on fewer items than its benchmark usually gives."""
    usual = () if task.subset is not None else task.draw()
    if len(items) >= len(usual):
        return ()
    few = f"the baseline has {len(items)} items, and {len(usual)} are usual for {task.benchmark.name}"
    return (f"{few}: an update measures them, or subset= says how many are meant",)


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
