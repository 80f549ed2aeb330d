"""Baselines on disk: one JSON file for each platform, model, recipe and benchmark."""

from quantguard.baselines.layer_profile import LayerProfile
from quantguard.baselines.record import Acceptance, Baseline, BaselineItem, baseline_from_runs
from quantguard.baselines.store import baseline_path, dump, read, write

__all__ = [
    "Acceptance",
    "Baseline",
    "BaselineItem",
    "LayerProfile",
    "baseline_from_runs",
    "baseline_path",
    "dump",
    "read",
    "write",
]
