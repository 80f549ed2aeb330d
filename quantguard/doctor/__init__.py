"""Finding out what can be used on this machine, and what is missing for the rest.

A backend says so itself by ``kernels/<backend>/doctor.py`` with ``missing() -> list[MissingRequirement]``, and ``trial_device()``
where a trial does not run on the CPU; a benchmark by a function ``missing()`` in its module. Both may do without: then
a backend is tried on one small linear and a benchmark is loaded, which is done anyhow where nothing is missing.
"""

from quantguard.doctor.examination import diagnose

__all__ = ["diagnose"]
