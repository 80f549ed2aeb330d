"""The examination of this machine: what can be used on it, and what is missing for the rest.

A backend says so itself by the ``missing()`` of its package, and a benchmark by one in its module, where it has that.
Where nothing is missing, a backend is tried on one small linear and a benchmark is loaded.
"""

from quantguard.doctor.examination import diagnose

__all__ = ["diagnose"]
