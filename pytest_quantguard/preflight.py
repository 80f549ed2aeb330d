"""The preflight of a run: it tries every folder that the run will write to, so that hours do not end at a full disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import pathlib

    from quantguard.run_options import RunOptions


# The folders of the cache in which a run keeps data for later ones.
_KEPT = ("generations", "reruns", "suites")


def require_writable(config: pytest.Config, options: RunOptions) -> None:
    """Raise pytest.UsageError, with what to type, if the report, baselines or answers cannot be written."""
    if not options.enabled or hasattr(config, "workerinput") or config.getoption("collectonly"):
        return
    from quantguard import catalog  # noqa: PLC0415 - an unrelated run does not pay for it
    from quantguard.report import output_files  # noqa: PLC0415

    if options.report is not None:
        _try(options.report, "the report", "--quantguard-report=DIR")
        if (foreign := output_files.foreign_file(options.report)) is not None:
            raise pytest.UsageError(
                f"--quantguard-report={options.report}: {foreign} is there, and no report of quantguard's has made it:"
                " it would be overwritten. Type another folder: --quantguard-report=DIR"
            )
    if options.update is not None:
        _try(options.baselines, "what is measured", "--quantguard-baselines=DIR")
    for name in _KEPT:
        _try(catalog.cache_root() / name, "what is kept for later runs", "QUANTGUARD_CACHE=DIR pytest --quantguard …")


def _try(folder: pathlib.Path, what: str, instead: str) -> None:
    from quantguard.records.files import try_writing  # noqa: PLC0415

    try:
        try_writing(folder)
    except OSError as error:
        raise pytest.UsageError(
            f"{what} cannot be written to {folder}: {error.strerror or error}. Make room there, or type another:"
            f" {instead}"
        ) from error
