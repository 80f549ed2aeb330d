"""Does a baseline belong to what is about to run?"""

import dataclasses
from typing import Any, Protocol

from quantguard.baselines import Baseline, baseline_path
from quantguard.baselines.fingerprint import changes
from quantguard.baselines.survey import Place
from quantguard.errors import BaselineError
from quantguard.gates._session import Session, SupportsDecoding

_UPDATE_CHANGED = "pytest --quantguard --quantguard-update=changed"


class SupportsSubject(SupportsDecoding, Protocol):
    """The fields of a gate that say what it runs."""

    @property
    def benchmark(self) -> str:
        """The benchmark."""

    @property
    def subset(self) -> int | None:
        """The number of items of a new baseline; absent, the benchmark's own."""


def require_same(baseline: Baseline, gate: SupportsSubject, session: Session, path: str) -> None:
    """Raise BaselineError where the baseline belongs to something else than what is about to run."""
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
    changed = changes(baseline.must_match, now)
    if gate.subset not in (None, len(baseline.sample_ids)):
        raise BaselineError(
            f"the baseline {path} is stale: it has {len(baseline.sample_ids)} items, and the gate asks for"
            f" subset={gate.subset}. Type: {_UPDATE_CHANGED}"
        )
    if changed:
        facts = "; ".join(f"{key} {how}" for key, how in changed.items())
        raise BaselineError(f"the baseline {path} is stale: {facts}. If that is meant, type: {_UPDATE_CHANGED}")


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
        must_match=session.fingerprint(gate.benchmark, session.config(gate.benchmark, gate)),
    )


def subject_of(gate: SupportsSubject) -> str:
    """Name what is measured: the benchmark, and every way in which the gate decodes that is not the usual one."""
    kind: Any = type(gate)
    usual = {field.name: field.default for field in dataclasses.fields(kind)}
    given = {"t": "temperature", "p": "top_p", "e": "epochs", "n": "max_new_tokens"}
    parts = [f"{letter}{getattr(gate, name):g}" for letter, name in given.items() if getattr(gate, name) != usual[name]]
    return "@".join([gate.benchmark, *([gate.mode] if gate.mode else []), *parts])
