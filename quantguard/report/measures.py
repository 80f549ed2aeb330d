"""The numbers of a verdict in the units that people read: what its margin forbids, and how a value is written."""

from typing import Literal, NamedTuple

from quantguard import gates
from quantguard.gates import GateResult

Limit = Literal["drop", "floor", "ceiling"]
_WORDS = {"drop": "down to", "floor": "at least", "ceiling": "at most"}


class Measure(NamedTuple):
    """How the numbers of a gate are to be read; ``limit`` is absent where the gate does not say what its margin is."""

    limit: Limit | None
    factor: float = 1.0
    unit: str = ""

    def write(self, value: float | None, *, bare: bool = False) -> str:
        """Return a number with its unit, ``bare`` without, or a dash where there is none."""
        if value is None:
            return "–"
        digits = {"drop": "+.1f" if value else ".1f", "floor": ".2f"}.get(str(self.limit), ".3g")
        return f"{value * self.factor:{digits}}{'' if bare else self.unit}".replace("-", "−")


def measure_of(result: GateResult) -> Measure:
    """Return how a result is read, as its gate says by ``LIMIT``; what is of no gate has plain numbers."""
    limit = gates.members[result.gate].LIMIT if result.gate in gates.members else None
    return {
        "drop": Measure("drop", 100.0, " points"),
        "floor": Measure("floor", 1.0, "×"),
        "ceiling": Measure("ceiling"),
    }.get(str(limit), Measure(None))


def threshold(result: GateResult) -> float | None:
    """Return the value on the axis of ``delta`` beyond which the gate is not met; absent where nobody says."""
    limit, margin = measure_of(result).limit, result.verdict.margin
    if limit is None or margin is None:
        return None
    return -margin if limit == "drop" else margin


def worded_limit(result: GateResult) -> str:
    """Return what is asked, such as ``at least 1.5×``."""
    measure, limit = measure_of(result), threshold(result)
    if measure.limit is None or limit is None:
        return "–"
    return f"{_WORDS[measure.limit]} {measure.write(limit)}"


def interval(result: GateResult) -> str:
    """Return both bounds without their unit, or a dash for a result that has none."""
    verdict, measure = result.verdict, measure_of(result)
    if verdict.ci_low is None or verdict.ci_high is None:
        return "–"
    if verdict.ci_low == verdict.ci_high:
        return "exact"
    return f"{measure.write(verdict.ci_low, bare=True)} to {measure.write(verdict.ci_high, bare=True)}"
