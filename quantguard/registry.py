"""Names to modules: one file in a family's package is one member, imported when it is asked for.

A family is a sub-package such as ``quantguard.rounding`` or ``quantguard.report.sections``; the member
``text-fidelity`` of ``benchmarks`` is the module ``quantguard/benchmarks/text_fidelity.py``. Other distributions add
members through entry points of the group ``quantguard.<family>`` that name a module with the same functions.
"""

import functools
import importlib
import importlib.metadata
import pathlib
import pkgutil
import types
from collections.abc import Iterator, Mapping

from quantguard.errors import UnknownNameError


class Registry(Mapping[str, types.ModuleType]):
    """The members of one family, a read-only mapping from name to module."""

    def __init__(self, family: str, *, kind: str) -> None:
        self.family = family
        self.kind = kind

    def __getitem__(self, name: str) -> types.ModuleType:
        """Import and return the module of ``name``; raise UnknownNameError with close matches."""
        sources = self._sources
        if name not in sources:
            raise UnknownNameError(self.kind, name, sources)
        return importlib.import_module(sources[name])

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, sorted, without importing a member."""
        return iter(sorted(self._sources))

    def __len__(self) -> int:
        """Count the members."""
        return len(self._sources)

    def __contains__(self, name: object) -> bool:
        """Tell whether a member has this name, without importing it."""
        return name in self._sources

    @functools.cached_property
    def _sources(self) -> dict[str, str]:
        package = f"quantguard.{self.family}"
        found = {entry.name: entry.value for entry in importlib.metadata.entry_points(group=package)}
        folder = pathlib.Path(__file__).parent.joinpath(*self.family.split("."))
        for module in pkgutil.iter_modules([str(folder)]):
            if not module.name.startswith("_"):
                found[module.name.replace("_", "-")] = f"{package}.{module.name}"
        return found


transforms = Registry("transforms", kind="transform")
rounding = Registry("rounding", kind="rounding")
benchmarks = Registry("benchmarks", kind="benchmark")
scorers = Registry("scorers", kind="scorer")
calibration = Registry("calibration", kind="calibration set")
checkpoints = Registry("checkpoints", kind="checkpoint format")
engines = Registry("engines", kind="engine")
gates = Registry("gates", kind="gate")
measures = Registry("measures", kind="measure")
report_sections = Registry("report.sections", kind="section of the report")
