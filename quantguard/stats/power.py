"""The power of a gate before it runs: how likely each verdict is, by seeded simulation of its analyses."""

import functools
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from quantguard.stats.betting import Floats, log_wealth
from quantguard.stats.paired import Counts, excludes_drop
from quantguard.stats.sequential import Stage

NUM_RUNS = 10_000
# The largest number of items that a search for a sample size tries.
MOST_ITEMS = 100_000
Bools = npt.NDArray[np.bool_]


class Chances(NamedTuple):
    """The probabilities of the verdicts, and the number of items that a run uses.

    Attributes:
        passes: The probability of PASS.
        regressed: The probability of REGRESSED.
        inconclusive: The probability of INCONCLUSIVE.
        mean_items: The mean number of items until a run decides.
        median_items: The median number of items until a run decides.
    """

    passes: float
    regressed: float
    inconclusive: float
    mean_items: float
    median_items: float


@functools.cache
def chances(
    stages: tuple[Stage, ...],
    *,
    margin: float,
    flip_rate: float,
    drop: float = 0.0,
    alpha: float = 0.05,
    strict: bool = False,
    num_runs: int = NUM_RUNS,
    seed: int = 0,
) -> Chances:
    """Simulate a gate with one answer per item, of which ``flip_rate`` flip, or ``drop`` of them if that is more."""
    flip_rate = max(flip_rate, abs(drop))
    rates = [(flip_rate - drop) / 2, (flip_rate + drop) / 2]
    rng = np.random.default_rng(seed)
    draws = _draw(rng, stages, rates, num_runs, margin)
    passes, regressed, items = (
        np.zeros(num_runs, bool),
        np.zeros(num_runs, bool),
        np.full(num_runs, stages[-1].num_items),
    )
    for index, stage in enumerate(stages):
        # Only runs that no earlier analysis has decided go on to this one.
        undecided = ~passes & ~regressed
        good, bad = _bounds_decide(draws, index, stage, margin)
        if index == len(stages) - 1 and not strict:
            bad |= _significant(draws.gained[-1], draws.lost[-1], stage.num_items, margin, alpha) & ~good
        passes |= undecided & good
        regressed |= undecided & bad
        items[undecided & (good | bad)] = stage.num_items
    decided = float(np.mean(passes)), float(np.mean(regressed))
    return Chances(*decided, 1 - sum(decided), float(np.mean(items)), float(np.median(items)))


class _Draws(NamedTuple):
    """Gained and lost flips up to each analysis, and the log wealths there if bets are made; shape ``[runs]`` each."""

    gained: tuple[Counts, ...]
    lost: tuple[Counts, ...]
    wealths: tuple[tuple[Floats, Floats], ...]


def _draw(
    rng: np.random.Generator, stages: tuple[Stage, ...], rates: list[float], num_runs: int, margin: float
) -> _Draws:
    counts = [stage.num_items for stage in stages]
    if any(stage.betting for stage in stages):
        return _draw_items(rng, counts, rates, num_runs, margin)
    blocks = [
        rng.multinomial(count - before, [*rates, 1 - sum(rates)], size=num_runs)
        for count, before in zip(counts, [0, *counts], strict=False)
    ]
    total = np.cumsum(blocks, axis=0)
    return _Draws(tuple(total[:, :, 0]), tuple(total[:, :, 1]), ())


def _draw_items(
    rng: np.random.Generator, counts: list[int], rates: list[float], num_runs: int, margin: float
) -> _Draws:
    uniform = rng.random((num_runs, counts[-1]))
    up, down = uniform < rates[0], uniform > 1 - rates[1]
    columns, differences = [count - 1 for count in counts], up.astype(np.float64) - down
    for_pass, for_drop = log_wealth(differences, -margin), log_wealth(-differences, margin)
    gained, lost = (np.cumsum(flips, axis=1, dtype=np.int64) for flips in (up, down))
    return _Draws(
        tuple(gained[:, c] for c in columns),
        tuple(lost[:, c] for c in columns),
        tuple((for_pass[:, c], for_drop[:, c]) for c in columns),
    )


def _bounds_decide(draws: _Draws, index: int, stage: Stage, margin: float) -> tuple[Bools, Bools]:
    """Tell for each run whether the bounds at an analysis prove the drop smaller than the margin, or larger."""
    if stage.betting:
        for_pass, for_drop = draws.wealths[index]
        return for_pass >= np.log(1 / stage.level), for_drop >= np.log(1 / stage.level)
    gained, lost = draws.gained[index], draws.lost[index]
    good = excludes_drop(gained, lost, stage.num_items, margin=margin, alpha=stage.level)
    return good, excludes_drop(lost, gained, stage.num_items, margin=-margin, alpha=stage.level)


def _significant(gained: Counts, lost: Counts, n: int, margin: float, alpha: float) -> Bools:
    p_values = stats.binom.sf(lost - 1, gained + lost, 0.5)
    return np.asarray(((gained - lost) / n < -margin) & (p_values <= alpha))


def smallest_proven_drop(
    stages: tuple[Stage, ...], *, margin: float, flip_rate: float, power: float = 0.8, strict: bool = False
) -> float | None:
    """Return the smallest drop that is REGRESSED with probability ``power``, to a thousandth; None if there is none."""
    low, high = margin, 1.0
    if _regressed(stages, margin, flip_rate, high, strict) < power:
        return None
    while high - low > 1e-3:
        middle = (low + high) / 2
        reached = _regressed(stages, margin, flip_rate, middle, strict) >= power
        low, high = (low, middle) if reached else (middle, high)
    return high


def _regressed(stages: tuple[Stage, ...], margin: float, flip_rate: float, drop: float, strict: bool) -> float:  # noqa: FBT001
    return chances(stages, margin=margin, flip_rate=flip_rate, drop=drop, strict=strict, num_runs=2000).regressed


def items_needed(*, margin: float, flip_rate: float, power: float, alpha: float = 0.05) -> int | None:
    """Return how many items an unchanged model needs to PASS with probability ``power``; None beyond ``MOST_ITEMS``.

    With ``flip_rate`` 0 it is the number of items that a run without a single flip needs.
    """
    if flip_rate == 0:
        return math.floor(math.log(alpha) / math.log(1 - margin)) + 1
    low, high = 1, MOST_ITEMS
    if _passes(high, margin, flip_rate, alpha) < power:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        reached = _passes(middle, margin, flip_rate, alpha) >= power
        low, high = (low, middle) if reached else (middle, high)
    return high


def _passes(num_items: int, margin: float, flip_rate: float, alpha: float) -> float:
    return chances((Stage(num_items, alpha),), margin=margin, flip_rate=flip_rate, num_runs=2000).passes
