"""The examination of this machine: what can be used on it, and what is missing for the rest.

A backend lists what it is missing in ``kernels/<backend>/doctor.py``, by ``missing() -> list[MissingRequirement]``,
with ``trial_device()`` if its trial does not run on the CPU; a benchmark by ``missing()`` in its module. Both are
optional. If nothing is missing, a backend is tried on one small linear, and a benchmark is loaded.
"""

from quantguard.doctor.examination import diagnose

__all__ = ["diagnose"]
