"""Statistics of paired comparisons: floats in, floats out."""

from quantguard.stats.betting import betting_bounds, log_wealth
from quantguard.stats.clusters import clustered_bounds
from quantguard.stats.holm import holm
from quantguard.stats.log_ratio import RatioEstimate, log_ratio_bounds
from quantguard.stats.paired import (
    PairedCounts,
    drop_p_value,
    exact_no_flip_bound,
    excludes_drop,
    flip_bounds,
    mean_bounds,
    tango_bounds,
    widen,
)
from quantguard.stats.pass_at_k import pass_at_k
from quantguard.stats.power import Chances, chances, items_needed, smallest_proven_drop
from quantguard.stats.rate import rate_bounds
from quantguard.stats.sequential import METHODS, Method, Stage, stages

__all__ = [
    "METHODS",
    "Chances",
    "Method",
    "PairedCounts",
    "RatioEstimate",
    "Stage",
    "betting_bounds",
    "chances",
    "clustered_bounds",
    "drop_p_value",
    "exact_no_flip_bound",
    "excludes_drop",
    "flip_bounds",
    "holm",
    "items_needed",
    "log_ratio_bounds",
    "log_wealth",
    "mean_bounds",
    "pass_at_k",
    "rate_bounds",
    "smallest_proven_drop",
    "stages",
    "tango_bounds",
    "widen",
]
