"""The stability of a machine while it was timed: was it steady enough for the timings to be trusted?

In A B B A blocks an even change of speed falls on both models alike, so a busy machine only widens the bounds. Beyond
the limits here that is no longer assumed.
"""

import math
import statistics
from collections.abc import Sequence

import numpy as np
from scipy import stats

from quantguard.records import TimedBlock

# The largest trusted ratio of the slowest to the fastest fifth of the run, by full precision's median time.
LARGEST_DRIFT = 2.0
# The largest trusted median factor between full precision's two timings within a block.
LARGEST_REPEAT = 1.5
# The halves of a run disagree if their speed-ups differ by more than this share, and beyond chance at this level.
LARGEST_STEP = 0.03
STEP_ALPHA = 0.01
_NUM_PARTS = 5


def why_unstable(blocks: Sequence[TimedBlock]) -> str | None:
    """Return what makes a run of at least ten blocks too unsteady for a verdict, or None."""
    for check in (_drift, _repeats, _halves):
        found = check(blocks)
        if found is not None:
            return found
    return None


def _drift(blocks: Sequence[TimedBlock]) -> str | None:
    times = [math.sqrt(math.prod(block.reference_seconds)) for block in blocks]
    parts = [float(np.median(part)) for part in np.array_split(times, _NUM_PARTS)]
    factor = max(parts) / min(parts)
    if factor <= LARGEST_DRIFT:
        return None
    return (
        f"the machine's speed drifted: full precision took {factor:.1f} times as long in one fifth of the run as in"
        f" another; up to {LARGEST_DRIFT:g} times is trusted"
    )


def _repeats(blocks: Sequence[TimedBlock]) -> str | None:
    factor = math.exp(statistics.median(abs(block.log_repeat) for block in blocks))
    if factor <= LARGEST_REPEAT:
        return None
    return (
        f"timings scatter: half of the time full precision differs from itself, two timings later, by more than"
        f" {factor:.1f} times; up to {LARGEST_REPEAT:g} times is trusted"
    )


def _halves(blocks: Sequence[TimedBlock]) -> str | None:
    logs = [block.log_speedup for block in blocks]
    first, second = logs[: len(logs) // 2], logs[len(logs) // 2 :]
    speedups = math.exp(statistics.median(first)), math.exp(statistics.median(second))
    step = abs(math.log(speedups[1] / speedups[0]))
    if step <= LARGEST_STEP or stats.mannwhitneyu(first, second).pvalue > STEP_ALPHA:
        return None
    return (
        f"the halves of the run disagree: the speed-up was {speedups[0]:.2f} in the first and {speedups[1]:.2f} in the"
        " second, more than chance"
    )
