"""What an accuracy gate can decide, before it runs."""

import dataclasses
import pathlib
import statistics
from collections.abc import Sequence

from quantguard import stats
from quantguard.baselines import Baseline, noise_path, read_noise
from quantguard.errors import UsageError
from quantguard.verdict import AccuracyRule

# Below this chance of a PASS where nothing has changed, a gate is not worth running.
SMALLEST_CHANCE = 0.5
POWER = 0.8
# Between two greedy runs of one model on servers, 2 to 4 % of the items flip; assumed where nothing is known.
USUAL_FLIP_RATE = 0.03
_NUM_RUNS = 2000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a gate can decide; rates and chances are 0..1."""

    num_items: int
    """The items of a run that stops nowhere."""
    margin: float
    """The tolerated absolute drop."""
    flip_rate: float
    """The share of items that is expected to change between right and wrong."""
    flips_from: str
    """Where that share is from, in words."""
    chances: stats.Chances
    """How a run ends where nothing has changed."""
    smallest_proven_drop: float | None
    """The smallest drop that is REGRESSED as often as ``POWER`` says, absent where there is none."""
    items_without_flips: int
    """The items that a PASS needs where none of them flips."""
    items_needed: int | None
    """The items that a PASS needs as often as ``POWER`` says, absent where no number is enough."""
    num_tokens: int | None = None
    """The tokens of all answers in one run that stops nowhere, absent where no run is known."""

    def lines(self) -> list[str]:
        """Return the plan for a terminal."""
        seen = (
            "no drop at all" if self.smallest_proven_drop is None else f"{self.smallest_proven_drop * 100:.1f} points"
        )
        chances = self.chances
        needed = "more than can be run" if self.items_needed is None else str(self.items_needed)
        size = f"{self.num_items} items, {self.margin * 100:.1f} points tolerated"
        noise = f"{self.flip_rate:.1%} of the items flip ({self.flips_from})"
        same = f"nothing changed: PASS {chances.passes:.0%}, INCONCLUSIVE {chances.inconclusive:.0%}"
        used = f"after {chances.mean_items:.0f} items on average; items for a PASS of {POWER:.0%}: {needed}"
        lines = [
            f"{size}; {noise}",
            f"{same}, {used}",
            f"smallest drop that is REGRESSED in {POWER:.0%} of runs: {seen}",
        ]
        if self.num_tokens is not None:
            share = chances.mean_items / self.num_items
            lines.append(
                f"tokens: about {self.num_tokens * share:,.0f} where nothing changed, {self.num_tokens:,} at most"
            )
        return lines

    @property
    def problem(self) -> str | None:
        """Why the gate would not even PASS where nothing has changed, or None."""
        if self.num_items < self.items_without_flips:
            return f"it cannot PASS: {self.items_without_flips} items are needed even where none of them flips"
        if self.chances.passes < SMALLEST_CHANCE:
            return f"it PASSes with a chance of only {self.chances.passes:.0%} where nothing has changed"
        return None


def known_noise(path: pathlib.Path, baseline: Baseline) -> float | None:
    """Return the flip rate between two runs of the model that a baseline is of, where it was measured."""
    noise = read_noise(noise_path(path))
    return noise.flip_rate if noise is not None and noise.fingerprint == baseline.fingerprint else None


def noise_notes(flip_rate: float, noise: float | None) -> list[str]:
    """Say where no more items flip than between two runs of the same model."""
    if noise is None or flip_rate > noise:
        return []
    return [f"{flip_rate:.1%} of the items flipped, no more than between two runs of the same model ({noise:.1%})"]


def make_plan(
    *,
    num_items: int,
    rule: AccuracyRule,
    accuracy: float,
    method: stats.Method,
    flip_rate: float,
    flips_from: str,
    num_tokens: int | None = None,
) -> Plan:
    """Work out what a gate over ``num_items`` can decide; raise UsageError for fewer than two items."""
    if num_items < 2:
        raise UsageError("one item decides nothing; ask for more")
    margin = rule.margin(accuracy)
    looks = stats.stages(method, num_items, alpha=rule.alpha)
    return Plan(
        num_items=num_items,
        margin=margin,
        flip_rate=flip_rate,
        flips_from=flips_from,
        chances=stats.chances(looks, margin=margin, flip_rate=flip_rate, strict=rule.strict, num_runs=_NUM_RUNS),
        smallest_proven_drop=stats.smallest_proven_drop(
            looks, margin=margin, flip_rate=flip_rate, power=POWER, strict=rule.strict
        ),
        items_without_flips=stats.items_needed(margin=margin, flip_rate=0, power=POWER, alpha=rule.alpha) or num_items,
        items_needed=stats.items_needed(margin=margin, flip_rate=flip_rate, power=POWER, alpha=rule.alpha),
        num_tokens=num_tokens,
    )


def plan_from_baseline(
    baseline: Baseline,
    ids: Sequence[str],
    *,
    rule: AccuracyRule,
    against: str,
    method: stats.Method,
    noise: float | None,
) -> Plan:
    """Plan a gate by its baseline: ``noise`` is the flip rate between two runs of the same model, where it is known.

    Otherwise as many items are taken to flip as between full precision and the accepted run.
    """
    chosen = set(ids)
    items = [item for item in baseline.items if item.sample_id in chosen]
    known = [score.value for score in baseline.scores(against) if score.sample_id in chosen and score.value is not None]
    return make_plan(
        num_items=len(ids),
        rule=rule,
        accuracy=statistics.fmean(known) if known else 0.0,
        method=method,
        flip_rate=statistics.fmean(i.reference.value != i.accepted.value for i in items) if noise is None else noise,
        flips_from="between full precision and the accepted run" if noise is None else "between two runs of the model",
        num_tokens=sum(item.accepted.num_tokens for item in items),
    )


def require_decidable(num_items: int, *, rule: AccuracyRule, accuracy: float, noise: float | None) -> None:
    """Raise UsageError, which says why, for a gate that would not PASS even where nothing has changed.

    Only what is certain is refused: too few items for a PASS without a single flip, or, where the noise between two
    runs of the model was measured, less than an even chance.
    """
    margin = rule.margin(accuracy)
    if not 0 < margin < accuracy:
        return
    least = stats.items_needed(margin=margin, flip_rate=0, power=POWER, alpha=rule.alpha) or 0
    if num_items < least:
        raise UsageError(
            f"{num_items} items cannot rule a drop of {margin * 100:.1f} points out, not even where none of them flips:"
            f" at least {least} are needed. More items are needed (a larger subset= or --quantguard-limit), or a larger"
            " tolerance; --quantguard-inconclusive=warn runs it all the same"
        )
    if noise is None:
        return
    chance = stats.chances(
        (stats.Stage(num_items, rule.alpha),), margin=margin, flip_rate=noise, num_runs=_NUM_RUNS
    ).passes
    if chance < SMALLEST_CHANCE:
        needed = stats.items_needed(margin=margin, flip_rate=noise, power=POWER, alpha=rule.alpha)
        raise UsageError(
            f"{noise:.1%} of the items flip between two runs of this model, so that {num_items} items would PASS with a"
            f" chance of only {chance:.0%} where nothing has changed: {needed or 'too many'} are needed for"
            f" {POWER:.0%}; --quantguard-inconclusive=warn runs it all the same"
        )
