"""Names to members: what a family finds on disk and by entry point, held to the family's Protocol.

A family is a sub-package such as ``quantguard.rounding`` or ``quantguard.report.sections``. Its ``__init__`` has the
Protocol of its members and a ``Registry`` of them, called ``members``. A member is a file or a package beside it: that
called ``text-fidelity`` of ``benchmarks`` is ``quantguard/benchmarks/text_fidelity.py``. Other distributions add
members through entry points of the group ``quantguard.<family>`` that name a module with the same functions.
"""

import functools
import importlib
import importlib.metadata
import inspect
import pathlib
import pkgutil
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar, cast

from quantguard.errors import MemberError, UnknownNameError

T = TypeVar("T")
A = TypeVar("A")
_ROOT = pathlib.Path(__file__).parent


def discover(family: str, *, packages_only: bool = False) -> dict[str, str]:
    """Find the members of a family without importing one; return the module of each name, sorted by name.

    ``packages_only`` leaves out what is a file, for a folder whose files are something else.
    """
    package = f"quantguard.{family}"
    found = {entry.name: entry.value for entry in importlib.metadata.entry_points(group=package)}
    for module in pkgutil.iter_modules([str(_ROOT.joinpath(*family.split(".")))]):
        if not module.name.startswith("_") and (module.ispkg or not packages_only):
            found[module.name.replace("_", "-")] = f"{package}.{module.name}"
    return dict(sorted(found.items()))


def discover_toml(family: str) -> dict[str, pathlib.Path]:
    """Find the members of a family of TOML files, such as ``recipes``; return the path of each name, sorted by name."""
    return {path.stem: path for path in sorted(_ROOT.joinpath(family).glob("[!_]*.toml"))}


class Registry(Mapping[str, T]):
    """The members of one family, a read-only mapping from name to member.

    ``protocol`` is what every member satisfies. Each of ``abilities`` is a Protocol that a member has whole or not at
    all. Both are held against a member when it is first asked for.
    """

    def __init__(
        self,
        family: str,
        protocol: type[T],
        *,
        kind: str,
        abilities: Sequence[type] = (),
        packages_only: bool = False,
    ) -> None:
        self.family = family
        self.protocol = protocol
        self.kind = kind
        self.abilities = tuple(abilities)
        self.packages_only = packages_only
        self._checked: set[str] = set()

    def __getitem__(self, name: str) -> T:
        """Import and return a member.

        Raises UnknownNameError with close matches, and MemberError saying what the member lacks.
        """
        if name not in self.sources:
            raise UnknownNameError(self.kind, name, self.sources)
        member = importlib.import_module(self.sources[name])
        if name not in self._checked:
            self._check(name, member)
            self._checked.add(name)
        return cast("T", member)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, sorted, without importing a member."""
        return iter(self.sources)

    def __len__(self) -> int:
        """Count the members."""
        return len(self.sources)

    def __contains__(self, name: object) -> bool:
        """Tell whether a member has this name, without importing it."""
        return name in self.sources

    @functools.cached_property
    def sources(self) -> dict[str, str]:
        """The modules of the members by name."""
        return discover(self.family, packages_only=self.packages_only)

    def able(self, name: str, ability: type[A]) -> A | None:
        """Return a member where it has an ability; None where it does without."""
        member = self[name]
        return cast("A", member) if all(hasattr(member, part) for part in parts(ability)) else None

    def require(self, name: str, ability: type[A]) -> A:
        """Return a member that has to have an ability; raise MemberError saying what it lacks."""
        member = self[name]
        self._refuse(name, member, lacks(member, ability))
        return cast("A", member)

    def _check(self, name: str, member: object) -> None:
        found = lacks(member, self.protocol)
        for ability in self.abilities:
            if any(hasattr(member, part) for part in parts(ability)):
                found += lacks(member, ability)
        self._refuse(name, member, found)

    def _refuse(self, name: str, member: object, found: Sequence[str]) -> None:
        if found:
            file = getattr(member, "__file__", None) or self.sources[name]
            raise MemberError(
                f"the {self.kind} {name!r} cannot be used: in {file}, {'; '.join(found)}. What a member of"
                f" quantguard.{self.family} must have stands in quantguard/{self.family.replace('.', '/')}/__init__.py"
            )


def parts(protocol: type) -> dict[str, Any]:
    """Return the public names of a Protocol, with the function of a method and the annotation of a value."""
    found: dict[str, Any] = {}
    for base in reversed(protocol.__mro__):
        if getattr(base, "_is_protocol", False):
            found |= {name: kind for name, kind in inspect.get_annotations(base).items() if not name.startswith("_")}
            found |= {name: _asked(value) for name, value in vars(base).items() if not name.startswith("_")}
    return found


def _asked(value: Any) -> Any:
    is_value = isinstance(value, property) and value.fget is not None
    return inspect.get_annotations(value.fget)["return"] if is_value else value


def lacks(member: object, protocol: type) -> list[str]:
    """Say what a member has not, or not as a Protocol asks for it; empty where it satisfies the Protocol."""
    found = (_lack(member, name, wanted) for name, wanted in parts(protocol).items())
    return [lack for lack in found if lack is not None]


def describe(name: str, wanted: Any) -> str:
    """Write a part of a Protocol as a member has it: ``score(sample, generation)``, or the name of a value."""
    return f"{name}{_without_self(wanted)}" if inspect.isfunction(wanted) else name


def _lack(member: object, name: str, wanted: Any) -> str | None:
    if not hasattr(member, name):
        return f"{describe(name, wanted)} is missing"
    value = getattr(member, name)
    if inspect.isfunction(wanted):
        return _uncallable(name, value, wanted)
    return None if _fits(value, wanted) else f"{name} is {value!r}, and has to be {_worded(wanted)}"


def _fits(value: object, wanted: Any) -> bool:
    """Tell whether a value is of an annotation, as far as its outermost type goes."""
    origin = typing.get_origin(wanted) or wanted
    if origin is Literal:
        return value in typing.get_args(wanted)
    if origin is types.UnionType:
        return any(_fits(value, one) for one in typing.get_args(wanted))
    return not isinstance(origin, type) or isinstance(value, origin)


def _worded(wanted: Any) -> str:
    if typing.get_origin(wanted) is Literal:
        return f"one of {', '.join(map(repr, typing.get_args(wanted)))}"
    return f"of type {wanted.__name__}" if isinstance(wanted, type) else f"of type {wanted}"


def _uncallable(name: str, value: Any, wanted: Callable[..., Any]) -> str | None:
    """Say why a value cannot be called as a method of a Protocol is."""
    if not callable(value):
        return f"{name} cannot be called"
    asked = _without_self(wanted)
    by_place = [p.name for p in asked.parameters.values() if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    by_name = [p.name for p in asked.parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
    try:
        inspect.signature(value).bind(*by_place, **dict.fromkeys(by_name))
    except TypeError as error:
        return f"{name} cannot be called as {describe(name, wanted)}: {error}"
    return None


def _without_self(method: Callable[..., Any]) -> inspect.Signature:
    """Return the parameters of a method by their names, without annotations."""
    _, *rest = inspect.signature(method).parameters.values()
    return inspect.Signature([parameter.replace(annotation=inspect.Parameter.empty) for parameter in rest])
