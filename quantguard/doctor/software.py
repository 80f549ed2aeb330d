"""The installed software, read from package metadata; packages whose import may fail are imported elsewhere."""

import platform
from collections.abc import Iterable, Iterator
from importlib import metadata

from packaging.requirements import Requirement

from quantguard.host import fresh_interpreter
from quantguard.host.npu_software import installed_npu_software, version_of
from quantguard.records import MissingRequirement, Software

AUTOLOAD = "TORCH_DEVICE_BACKEND_AUTOLOAD"
_CHILD = "quantguard.doctor.probes:importable"
_NOTABLE = ("torch", "transformers", "pytest")
# Of the entry points by which another distribution adds members to a family.
_GROUPS = "quantguard."
_OPTIONAL = ("torch_npu", "triton", "triton-ascend", "pytest-xdist")


def requirements() -> dict[str, Requirement]:
    """Return the distributions that quantguard requires, by name."""
    parsed = (Requirement(text) for text in metadata.requires("quantguard") or ())
    needed = (one for one in parsed if one.marker is None or one.marker.evaluate({"extra": ""}))
    return {requirement.name: requirement for requirement in needed}


def installed(broken: dict[str, MissingRequirement]) -> Iterator[Software]:
    """List the software that matters to quantguard; ``broken`` are the packages whose import fails."""
    yield Software(name="python", version=platform.python_version())
    yield Software(name="quantguard", version=version_of("quantguard"))
    for name, requirement in requirements().items():
        lack = broken.get(name) or unmet(requirement)
        yield Software(name=name, version=version_of(name), lack=lack, notable=name in _NOTABLE)
    for name in _OPTIONAL:
        yield Software(name=name, version=version_of(name), lack=_misfit() if name == "torch_npu" else None)
    host = installed_npu_software()
    yield Software(name="CANN", version=host.cann)
    yield Software(name="NPU driver", version=host.driver)
    yield Software(name="NPUs", version=", ".join(host.npu_models) or None)
    yield from _plugins()


def unmet(requirement: Requirement) -> MissingRequirement | None:
    """Return what is missing if a requirement is not installed, or not in a suitable version."""
    version = version_of(requirement.name)
    if version is not None and requirement.specifier.contains(version, prereleases=True):
        return None
    found = "is not installed" if version is None else f"is {version}, and {requirement} is needed"
    return MissingRequirement(what=f"{requirement.name} {found}", remedy=f"pip install '{requirement}'")


def broken_imports(names: Iterable[str]) -> tuple[dict[str, MissingRequirement], dict[str, str]]:
    """Import the required packages in the current environment, and return those that are broken.

    Also returns the environment variables with which the rest can still be examined: torch loads torch_npu by itself,
    and fails if torch_npu does; then the rest is examined without it.
    """
    broken, environment = {}, dict[str, str]()
    needed = requirements()
    for name in names:
        if lack := unmet(needed[name]):
            broken[name] = lack
            continue
        failure = fresh_interpreter.call(_CHILD, name).failure
        if failure is None:
            continue
        without = {AUTOLOAD: "0"}
        if fresh_interpreter.call(_CHILD, name, environment=without).failure is None:
            environment = without
            broken[name] = _autoload_lack(name)
        else:
            broken[name] = MissingRequirement(
                what=f"import {name} fails: {failure}", remedy=f"pip install --force-reinstall '{needed[name]}'"
            )
    return broken, environment


def _autoload_lack(name: str) -> MissingRequirement:
    modules = [entry.module for entry in metadata.entry_points(group="torch.backends")]
    causes = {module: fresh_interpreter.call(_CHILD, module, environment={AUTOLOAD: "0"}).failure for module in modules}
    named = "; ".join(f"{module}: {cause}" for module, cause in causes.items() if cause) or "they do not load"
    return MissingRequirement(
        what=f"import {name} fails, because torch loads its extensions with it and one does not load ({named})."
        " Mend that, or do without the NPU",
        remedy=f"export {AUTOLOAD}=0",
    )


def _misfit() -> MissingRequirement | None:
    """Return what is missing if torch_npu belongs to another torch: its versions follow torch's."""
    torch, torch_npu = version_of("torch"), version_of("torch_npu")
    if torch is None or torch_npu is None or torch.split(".")[:2] == torch_npu.split(".")[:2]:
        return None
    return MissingRequirement(
        what=f"torch_npu {torch_npu} is not made for torch {torch}",
        remedy=f"pip install 'torch_npu=={'.'.join(torch.split('.')[:2])}.*'",
    )


def _plugins() -> Iterator[Software]:
    """List the distributions that add members to quantguard's families, such as benchmarks or scorers."""
    members: dict[tuple[str, str], list[str]] = {}
    for group in sorted(metadata.entry_points().groups):
        for entry in metadata.entry_points(group=group) if group.startswith(_GROUPS) else ():
            if entry.dist is not None:
                member = f"{group.removeprefix(_GROUPS)}/{entry.name}"
                members.setdefault((entry.dist.name, entry.dist.version), []).append(member)
    for (name, version), names in sorted(members.items()):
        yield Software(name=name, version=f"{version}, brings {', '.join(sorted(names))}")
