"""Baselines on disk: one JSON file for each platform, model, recipe and benchmark."""

from quantguard.baselines.layer_profile import LayerProfile
from quantguard.baselines.noise import Noise, noise_path, read_noise, write_noise
from quantguard.baselines.record import Acceptance, Baseline, BaselineItem, baseline_from_runs
from quantguard.baselines.store import (
    BaselineLocation,
    baseline_path,
    dump,
    locate,
    parse,
    read,
    read_any,
    write,
    write_all,
)

__all__ = [
    "Acceptance",
    "Baseline",
    "BaselineItem",
    "BaselineLocation",
    "LayerProfile",
    "Noise",
    "baseline_from_runs",
    "baseline_path",
    "dump",
    "locate",
    "noise_path",
    "parse",
    "read",
    "read_any",
    "read_noise",
    "write",
    "write_all",
    "write_noise",
]
