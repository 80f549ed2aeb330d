"""What is installed on a machine, what of quantguard can be used on it, and what is missing for the rest."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MissingRequirement:
    """Something that stands in the way, and what to type about it where that is known."""

    what: str
    remedy: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """A piece of software or hardware: ``version`` is absent where it is not there, ``lack`` where that is no harm.

    ``notable`` is whether a reader wants to know of it even where nothing is wrong with it.
    """

    name: str
    version: str | None = None
    lack: MissingRequirement | None = None
    notable: bool = True


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A backend, benchmark or model: usable where nothing is lacking. ``note`` says what was not tried, and why."""

    name: str
    lacks: tuple[MissingRequirement, ...] = ()
    note: str | None = None

    @property
    def usable(self) -> bool:
        """Tell whether it can be used."""
        return not self.lacks


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The whole examination; of a kind that was not asked about there are no findings.

    ``asked`` is whether single names were: then all of them have to be usable, otherwise one of each kind.
    """

    asked: bool
    installed: tuple[Software, ...]
    backends: tuple[Finding, ...] = ()
    benchmarks: tuple[Finding, ...] = ()
    models: tuple[Finding, ...] = ()

    @property
    def usable(self) -> bool:
        """Tell whether what was asked about can be used; where nothing was, whether quantguard runs at all."""
        kinds = (self.backends, self.benchmarks, self.models)
        if self.asked:
            return all(finding.usable for findings in kinds for finding in findings)
        sound = all(software.lack is None for software in self.installed)
        return sound and all(any(finding.usable for finding in findings) for findings in kinds)
