"""What benchmarks of programs share: their scorer, and that they are not run where programs cannot be run safely."""

from typing import Any

from quantguard import sandbox
from quantguard.benchmarks import _data_files
from quantguard.benchmarks._benchmark import Benchmark
from quantguard.records import MissingRequirement


def programs(**settings: Any) -> Benchmark:
    """Return a benchmark whose answers are programs; raise SandboxError where none can be run on this machine."""
    sandbox.isolation()
    return Benchmark(task="generate", scorer="code", max_new_tokens=32_768, **settings)


def missing(origin: _data_files.Origin) -> list[MissingRequirement]:
    """Return what a run would lack here: its rows, and a sandbox."""
    return [*_data_files.missing(origin), *sandbox.missing()]
