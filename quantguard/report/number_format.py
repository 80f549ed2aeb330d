"""How the numbers of a verdict are written: their unit, their digits, and what the margin means."""

from typing import Literal, NamedTuple

from quantguard import gates
from quantguard.gates import GateResult

Limit = Literal["drop", "floor", "ceiling"]
_WORDS = {"drop": "down to", "floor": "at least", "ceiling": "at most"}


class NumberFormat(NamedTuple):
    """How to write the numbers of a gate.

    Attributes:
        limit: What the margin is: a largest drop, a smallest or a largest value; absent if the gate does not say.
        factor: What a value is multiplied with before it is written.
        unit: What stands behind the number.
    """

    limit: Limit | None
    factor: float = 1.0
    unit: str = ""

    def write(self, value: float | None, *, bare: bool = False) -> str:
        """Write a number with its unit (without it if ``bare``), or a dash if it is absent."""
        if value is None:
            return "–"
        digits = {"drop": "+.1f" if value else ".1f", "floor": ".2f"}.get(str(self.limit), ".3g")
        return f"{value * self.factor:{digits}}{'' if bare else self.unit}".replace("-", "−")


def format_of(result: GateResult) -> NumberFormat:
    """Return the format that a result's gate declares by ``LIMIT``; plain numbers if it declares none."""
    limit = gates.members[result.gate].LIMIT if result.gate in gates.members else None
    return {
        "drop": NumberFormat("drop", 100.0, " points"),
        "floor": NumberFormat("floor", 1.0, "×"),
        "ceiling": NumberFormat("ceiling"),
    }.get(str(limit), NumberFormat(None))


def threshold(result: GateResult) -> float | None:
    """Return the value of ``delta`` beyond which the gate fails; absent if the gate declares no limit."""
    limit, margin = format_of(result).limit, result.verdict.margin
    if limit is None or margin is None:
        return None
    # A drop's margin is stored as a positive tolerance, and ``delta`` is negative for a drop.
    return -margin if limit == "drop" else margin


def limit_text(result: GateResult) -> str:
    """Write the limit that a gate asks for, such as ``at least 1.5×``."""
    numbers, limit = format_of(result), threshold(result)
    if numbers.limit is None or limit is None:
        return "–"
    return f"{_WORDS[numbers.limit]} {numbers.write(limit)}"


def interval_text(result: GateResult) -> str:
    """Write both bounds of a verdict without their unit, or a dash if it has none."""
    verdict, numbers = result.verdict, format_of(result)
    if verdict.ci_low is None or verdict.ci_high is None:
        return "–"
    if verdict.ci_low == verdict.ci_high:
        return "exact"
    return f"{numbers.write(verdict.ci_low, bare=True)} to {numbers.write(verdict.ci_high, bare=True)}"
