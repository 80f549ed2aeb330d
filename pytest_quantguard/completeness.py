"""The completeness of a run: only if it ran the whole suite of gates to its end are unused baselines known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_quantguard import markers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantguard.baselines.store import BaselineLocation
    from quantguard.run_options import RunOptions

# The collected gates, and the number that a selection left out; under xdist every worker sends both.
COLLECTED = pytest.StashKey[set[str]]()
_LEFT_OUT = pytest.StashKey[int]()
_WORKER_KEY = "quantguard_suite"
# Options that select a part of the tests without a trace in what was collected.
_SELECTING = ("ignore", "ignore_glob", "deselect", "keyword", "markexpr", "lf", "stepwise", "collectonly", "usepdb")


def note_deselected(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Count the gates that a selection has left out."""
    config.stash[_LEFT_OUT] = config.stash.get(_LEFT_OUT, 0) + sum(map(markers.is_gate, items))


def note_collected(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Record the gates that will run, and send them to the controller if this is a worker."""
    gates = {item.nodeid for item in items if markers.is_gate(item)}
    config.stash[COLLECTED] = gates
    if hasattr(config, "workeroutput"):
        config.workeroutput[_WORKER_KEY] = [sorted(gates), config.stash.get(_LEFT_OUT, 0)]


def take_over(config: pytest.Config, node: Any) -> None:
    """Take over what a worker collected; a crashed worker sends nothing, and then the run counts as incomplete."""
    gates, left_out = getattr(node, "workeroutput", {}).get(_WORKER_KEY, ([], 1))
    config.stash[COLLECTED] = config.stash.get(COLLECTED, set()) | set(gates)
    config.stash[_LEFT_OUT] = config.stash.get(_LEFT_OUT, 0) + left_out


def is_whole(session: pytest.Session, options: RunOptions, ended: set[str]) -> bool:
    """Tell whether all gates of the root folder were collected, and all of them are among those that ``ended``."""
    config = session.config
    source, here = config.args_source, config.invocation_params.dir == config.rootpath
    everywhere = source is not pytest.Config.ArgsSource.ARGS and here
    selected = any(config.getoption(name, None) for name in _SELECTING)
    collected = config.stash.get(COLLECTED, set())
    stopped = bool(session.shouldstop or session.shouldfail)
    return (
        everywhere
        and not (selected or stopped or config.stash.get(_LEFT_OUT, 0))
        # An update ends a test at its first measured baseline, and what the test would check after it is unknown.
        and not (options.plan or options.limit or options.update)
        and bool(collected)
        and collected == ended
    )


def location_of(name: str, gate: Any, session: Any) -> BaselineLocation | None:
    """Return the location of a gate's baseline; None if the gate has none, or if its fingerprint is unknown."""
    from quantguard import registry  # noqa: PLC0415 - an unrelated run does not pay for what only gates need
    from quantguard.errors import QuantguardError  # noqa: PLC0415

    make = getattr(registry.gates[name], "locate_baseline", None)
    if make is None or session is None:
        return None
    try:
        location: BaselineLocation | None = make(gate, session)
    except QuantguardError:
        # The gate itself has reported it.
        return None
    return location
