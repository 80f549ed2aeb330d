"""Statistics of paired comparisons: floats in, floats out."""

from quantguard.stats.paired import PairedCounts, drop_p_value, exact_no_flip_bound, mean_bounds, tango_bounds
from quantguard.stats.pass_at_k import pass_at_k
from quantguard.stats.ratio import RatioEstimate, log_ratio_bounds

__all__ = [
    "PairedCounts",
    "RatioEstimate",
    "drop_p_value",
    "exact_no_flip_bound",
    "log_ratio_bounds",
    "mean_bounds",
    "pass_at_k",
    "tango_bounds",
]
