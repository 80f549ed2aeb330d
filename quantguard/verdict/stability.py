"""Was the machine steady enough for what was timed on it to be believed?

A B B A blocks let what changes evenly within a block fall on both models alike, so a busy machine widens the bounds
and does no more. Beyond the limits here that is no longer taken on trust.
"""

import math
import statistics
from collections.abc import Sequence

import numpy as np
from scipy import stats

from quantguard.records import TimedBlock

# Slowest over fastest fifth of the run, by full precision's median time.
LARGEST_DRIFT = 2.0
# Half of full precision's repeats, two timings apart, differ by no more than this factor.
LARGEST_REPEAT = 1.5
# Halves of the run disagree where their speed-ups differ by more than this and by more than chance at this level.
LARGEST_STEP = 0.03
STEP_ALPHA = 0.01
_NUM_PARTS = 5


def why_unstable(blocks: Sequence[TimedBlock]) -> str | None:
    """Say what in a run of at least ten blocks is too unsteady for a verdict, or None."""
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
