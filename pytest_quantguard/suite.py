"""Was this run the whole suite of gates, and did every one come to its end? Then a baseline without use is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_quantguard import markers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_quantguard.options import Options
    from quantguard.baselines.survey import Place

# The gates that were collected, and how many a selection left out; both come from every worker under xdist.
COLLECTED = pytest.StashKey[set[str]]()
_LEFT_OUT = pytest.StashKey[int]()
_WORKER_KEY = "quantguard_suite"
# Options by which a run is of a part, that leave no trace in what was collected.
_SELECTING = ("ignore", "ignore_glob", "deselect", "keyword", "markexpr", "lf", "stepwise", "collectonly", "usepdb")


def note_deselected(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Count the gates that a selection leaves out."""
    config.stash[_LEFT_OUT] = config.stash.get(_LEFT_OUT, 0) + sum(map(markers.is_gate, items))


def note_collected(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Keep which gates are to run, and tell the controller where this is a worker."""
    gates = {item.nodeid for item in items if markers.is_gate(item)}
    config.stash[COLLECTED] = gates
    if hasattr(config, "workeroutput"):
        config.workeroutput[_WORKER_KEY] = [sorted(gates), config.stash.get(_LEFT_OUT, 0)]


def take_over(config: pytest.Config, node: Any) -> None:
    """Take from a worker what it collected; one that crashed tells nothing, so the run is not known to be whole."""
    gates, left_out = getattr(node, "workeroutput", {}).get(_WORKER_KEY, ([], 1))
    config.stash[COLLECTED] = config.stash.get(COLLECTED, set()) | set(gates)
    config.stash[_LEFT_OUT] = config.stash.get(_LEFT_OUT, 0) + left_out


def is_whole(session: pytest.Session, options: Options, ended: set[str]) -> bool:
    """Tell whether all gates of the root folder were to run, and all of them ``ended``, none of them failed."""
    config = session.config
    source, here = config.args_source, config.invocation_params.dir == config.rootpath
    everywhere = source is not pytest.Config.ArgsSource.ARGS and here
    selected = any(config.getoption(name, None) for name in _SELECTING)
    collected = config.stash.get(COLLECTED, set())
    stopped = bool(session.shouldstop or session.shouldfail)
    return (
        everywhere
        and not (selected or stopped or config.stash.get(_LEFT_OUT, 0))
        # A test ends with the first baseline that it measures, and what it would have checked then is not known.
        and not (options.plan or options.limit or options.update)
        and bool(collected)
        and collected == ended
    )


def place_of(name: str, gate: Any, session: Any) -> Place | None:
    """Return where the baseline of a gate belongs; None for one that has none, or whose fingerprint cannot be told."""
    from quantguard.errors import QuantguardError  # noqa: PLC0415
    from quantguard.gates import Stored  # noqa: PLC0415 - an unrelated run does not pay for what only gates need
    from quantguard.gates import members as kinds  # noqa: PLC0415 - an unrelated run does not pay for what only gates need

    stored = kinds.able(name, Stored)
    if stored is None or session is None:
        return None
    try:
        return stored.place(gate, session)
    except QuantguardError:
        # The gate itself has said it.
        return None
