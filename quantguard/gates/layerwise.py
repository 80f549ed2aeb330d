"""``@quantguard.layerwise``: every layer puts out what it did; where not, the first layer and its kernel are named."""

import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from quantguard.baselines import Acceptance, LayerProfile, baseline_path, read
from quantguard.baselines.acceptance import author, today
from quantguard.baselines.store import BaselineLocation, locate
from quantguard.errors import BaselineError, UsageError
from quantguard.gates import GateResult, Session, result_of
from quantguard.records import Difference, Fingerprint, LayerError, LayerSketch, Verdict

if TYPE_CHECKING:
    from quantguard.measures.layers import Layers

LIMIT = "ceiling"
METRIC = "layer error"
_SUBJECT = "layers"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The keywords of the marker; without ``backend`` and ``platform`` the stored profile is compared with."""

    max_relative_error: float = 0.02
    """The largest ``||found - expected|| / ||expected||`` of a layer's output on a fixed text, 0.02 for 2 per cent."""
    backend: str | None = None
    """Compare with the same recipe on that kernel backend, such as ``reference``, exactly and without a baseline."""
    platform: str | None = None
    """Compare with the profile that is stored of another platform, such as ``cpu`` for a run on an NPU, estimated from
    sketches to about a quarter."""

    def __post_init__(self) -> None:
        if not 0 < self.max_relative_error < 1:
            raise UsageError(
                f"layerwise(max_relative_error={self.max_relative_error!r}): a share between 0 and 1 such as 0.02"
            )
        if self.backend is not None and self.platform is not None:
            raise UsageError(
                f"layerwise(backend={self.backend!r}, platform={self.platform!r}): one of the two is compared with; for"
                " both write two gates"
            )


def check(gate: Gate, session: Session) -> GateResult:
    """Compare layer by layer; raises BaselineError for a profile that is missing, damaged, stale or foreign."""
    layers: Layers = session.measure("layers", gate="layerwise")
    if gate.backend is not None:
        return _result(session, _judge(layers.errors(gate.backend), gate, f"the backend {gate.backend}"))
    if gate.platform is not None:
        return _compare_with_platform(gate, gate.platform, layers, session)
    location = _location(layers, session)
    found, path = _profile(layers, session), pathlib.Path(location.path)
    update = session.options.update
    if update == "all" or (update == "new" and not path.is_file()):
        return _measured(session, found, location.path)
    try:
        stored = read(path, LayerProfile)
        _require_same(stored, found, stored.fingerprint.differences(found.fingerprint), location.path)
    except BaselineError:
        if update == "changed":
            return _measured(session, found, location.path)
        raise
    return _result(session, _judge(distances(found.layers, stored.layers), gate, "the stored profile"))


def baseline_name(gate: Gate) -> str | None:
    """Name its profile, whatever is run; None where it compares with another backend or platform."""
    return _SUBJECT if gate.backend is None and gate.platform is None else None


def locate_baseline(gate: Gate, session: Session) -> BaselineLocation | None:
    """Return where the gate's profile belongs; None where it compares with another backend or platform."""
    if baseline_name(gate) is None:
        return None
    return _location(session.measure("layers", gate="layerwise"), session)


def _location(layers: "Layers", session: Session) -> BaselineLocation:
    return locate(session.options.baselines, session.candidate, _SUBJECT, _fingerprint(layers, session))


def _fingerprint(layers: "Layers", session: Session) -> Fingerprint:
    """Return what a stored profile has to share with the candidate, the text that was read among it."""
    return session.fingerprint().of_layers(layers.text_sha256)


def _compare_with_platform(gate: Gate, platform: str, layers: "Layers", session: Session) -> GateResult:
    """Compare with the profile of another platform, whose number format and threads may be others; notes name them."""
    here = session.candidate.platform
    if platform == here:
        raise UsageError(f"layerwise(platform={platform!r}) runs on {platform} itself: leave platform out")
    candidate = session.candidate
    path = baseline_path(
        session.options.baselines,
        platform=platform,
        model=candidate.model,
        recipe=candidate.recipe,
        benchmark=_SUBJECT,
    )
    if not path.is_file():
        raise BaselineError(
            f"there is no profile {path} to compare {here} with. Measure it on {platform}, by a gate"
            " @quantguard.layerwise() there and: pytest --quantguard --quantguard-update=new"
        )
    stored = read(path, LayerProfile)
    # Measured as one of the platform that is asked for, so that everything else has to be the same.
    found = dataclasses.replace(_profile(layers, session), platform=platform)
    then, now = stored.fingerprint, found.fingerprint
    changed = (*then.question.differences(now.question), *then.model.differences(now.model))
    _require_same(stored, found, changed, str(path), where=f" on {platform}")
    notes = [
        f"{name} is {there} on {platform}, {here} here"
        for name, there, here in then.runtime.differences(now.runtime)
        if there is not None and here is not None
    ]
    verdict = _judge(distances(found.layers, stored.layers), gate, f"the stored profile of {platform}")
    result = _result(session, verdict)
    return dataclasses.replace(result, notes=(*result.notes, *notes))


def distances(found: tuple[LayerSketch, ...], expected: tuple[LayerSketch, ...]) -> tuple[LayerError, ...]:
    """Estimate how far layers are from what they were, from their sketches."""
    return tuple(
        LayerError(
            name=ours.name,
            op=ours.op,
            relative_error=math.dist(ours.buckets, theirs.buckets) / max(math.hypot(*theirs.buckets), 1e-30),
        )
        for ours, theirs in zip(found, expected, strict=True)
    )


def _profile(layers: "Layers", session: Session) -> LayerProfile:
    return LayerProfile(
        platform=session.candidate.platform,
        model=session.candidate.model,
        recipe=session.candidate.recipe,
        fingerprint=_fingerprint(layers, session),
        recorded={},
        acceptance=Acceptance(by=author(), on=today(), why=session.options.accepted_regression or "measured"),
        layers=layers.sketches(),
    )


def _measured(session: Session, found: LayerProfile, path: str) -> GateResult:
    reason = f"profile measured: {len(found.layers)} layers and blocks"
    verdict = Verdict(outcome="PASS", metric=METRIC, reason=reason, n=len(found.layers))
    return dataclasses.replace(_result(session, verdict), pending=found, pending_path=path)


def _require_same(
    stored: LayerProfile, found: LayerProfile, changed: Sequence[Difference], path: str, *, where: str = ""
) -> None:
    """Raise BaselineError where the profile belongs to something else than what ran; ``where`` it is to be mended.

    ``changed`` are the differences of the fingerprints, as far as they count.
    """
    update = f"If that is meant, type{where}: pytest --quantguard --quantguard-update=changed"
    for name in ("platform", "model", "recipe"):
        if getattr(stored, name) != getattr(found, name):
            raise BaselineError(f"the baseline {path} is foreign: it is for {name} {getattr(stored, name)!r}")
    if changed:
        raise BaselineError(f"the baseline {path} is stale: {'; '.join(map(str, changed))}. {update}")
    if [layer.name for layer in stored.layers] != [layer.name for layer in found.layers]:
        raise BaselineError(f"the baseline {path} is stale: it has other layers than the model. {update}")


def _judge(errors: tuple[LayerError, ...], gate: Gate, against: str) -> Verdict:
    largest = max(errors, key=lambda error: error.relative_error)
    off = [error for error in errors if error.relative_error > gate.max_relative_error]
    if off:
        first, op = off[0], f" ({off[0].op})" if off[0].op else ""
        reason = (
            f"{first.name}{op} is the first of {len(off)} layers that are further than {gate.max_relative_error:.2%}"
            f" from {against}: {first.relative_error:.2%}; the largest is {largest.name}, {largest.relative_error:.2%}"
        )
    else:
        reason = f"{len(errors)} layers and blocks are within {largest.relative_error:.2%} of {against}"
    return Verdict(
        outcome="REGRESSED" if off else "PASS",
        metric=METRIC,
        reason=reason,
        delta=largest.relative_error,
        ci_low=largest.relative_error,
        ci_high=largest.relative_error,
        margin=gate.max_relative_error,
        n=len(errors),
    )


def _result(session: Session, verdict: Verdict) -> GateResult:
    return result_of("layerwise", session.candidate, _SUBJECT, verdict)
