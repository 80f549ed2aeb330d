"""The diagnosis of a machine: what is installed, what of quantguard is usable on it, and what is missing."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MissingRequirement:
    """Something that is needed and not there.

    Attributes:
        what: What is missing, or wrong, in words.
        remedy: The command that adds it; absent if none is known.
    """

    what: str
    remedy: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """A piece of software or hardware.

    Attributes:
        name: Its name, such as ``torch``.
        version: Its version; absent if it is not installed.
        lack: What is missing or wrong about it; absent if quantguard runs with it as it is.
        notable: Whether a report names it even if nothing is wrong with it.
    """

    name: str
    version: str | None = None
    lack: MissingRequirement | None = None
    notable: bool = True


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The finding on a backend, benchmark or model.

    Attributes:
        name: Its name.
        lacks: What is missing for it; it is usable if this is empty.
        note: A remark, such as why it was not tried.
    """

    name: str
    lacks: tuple[MissingRequirement, ...] = ()
    note: str | None = None

    @property
    def usable(self) -> bool:
        """Whether it can be used."""
        return not self.lacks


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The result of the whole examination.

    Attributes:
        asked: Whether single names were asked about; then all of them have to be usable, otherwise one of each kind.
        installed: The software and hardware of the machine.
        backends: A finding for each kernel backend that was examined.
        benchmarks: A finding for each benchmark that was examined.
        models: A finding for each model of the catalogue that was examined.
    """

    asked: bool
    installed: tuple[Software, ...]
    backends: tuple[Finding, ...] = ()
    benchmarks: tuple[Finding, ...] = ()
    models: tuple[Finding, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether all that was asked about is usable or, if no name was, whether quantguard runs at all."""
        kinds = (self.backends, self.benchmarks, self.models)
        if self.asked:
            return all(finding.usable for findings in kinds for finding in findings)
        sound = all(software.lack is None for software in self.installed)
        return sound and all(any(finding.usable for finding in findings) for findings in kinds)
