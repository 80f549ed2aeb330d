"""``--quantguard-plan``: what the gates of a test can decide, told without running or loading anything."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from quantguard.benchmarks import Benchmarks
    from quantguard.records.candidate import Candidate
    from quantguard.run_options import RunOptions, Target


PLANNED = "planned, nothing run"
# Under this name the plans of a test travel on its report.
REPORT_ATTRIBUTE = "quantguard_plans"
PLANS = pytest.StashKey[list[str]]()


def plan_gates(
    item: pytest.Item, gates: dict[str, Any], options: RunOptions, target: Target, benchmarks: Benchmarks
) -> list[tuple[str, str]]:
    """Plan every gate that can be planned; return the kinds of those that cannot decide, with what is the matter."""
    from quantguard import registry  # noqa: PLC0415 - an unrelated run does not pay for it
    from quantguard.errors import QuantguardError  # noqa: PLC0415

    lines = item.stash.setdefault(PLANS, [])
    problems = []
    for kind, gate in gates.items():
        make = getattr(registry.gates[kind], "plan", None)
        if make is None:
            lines.append(f"{kind}: measured when it runs, on no items")
            continue
        try:
            plan = make(gate, _candidate(target), options, benchmarks)
        except QuantguardError as error:
            problems.append((kind, str(error)))
            lines.append(f"{kind}: {error}")
            continue
        problem = plan.problem
        problems += [(kind, problem)] if problem else []
        lines += [f"{kind}: {line}" for line in [*plan.lines(), *([f"CANNOT DECIDE: {problem}"] if problem else [])]]
    return problems


def take_plans(item: pytest.Item) -> list[str]:
    """Return what has not been reported yet."""
    plans = item.stash.get(PLANS, [])
    item.stash[PLANS] = []
    return plans


def _candidate(target: Target) -> Candidate:
    """Return the names that a model will go by, told without loading it."""
    from quantguard import catalog, recipes  # noqa: PLC0415
    from quantguard.host import npu_software  # noqa: PLC0415
    from quantguard.records.candidate import Candidate  # noqa: PLC0415

    path, served = pathlib.Path(target.model), target.engine is not None
    here = not served and catalog.find(target.model) is None and path.exists()
    kind = target.device.partition(":")[0]
    platform = "endpoint" if served else npu_software.installed_npu_software().platform() if kind == "npu" else kind
    name = "full-precision" if target.recipe is None else recipes.load_recipe(target.recipe).name
    return Candidate(
        model=path.resolve().name if here else target.model,
        recipe="as-served" if served else name,
        platform=platform,
    )
