"""Every member satisfies the Protocol of its family, and one that lacks something is refused by name."""

import pathlib
import sys
import types
from typing import Any, Protocol

import pytest

from quantguard import registry
from quantguard.errors import KernelError, MemberError, UnknownNameError
from quantguard.registry import Registry, discover, discover_toml, parts
from tests.support import extension_points

FAMILIES = list(extension_points.families())
MEMBERS = [(family, name) for family in FAMILIES for name in discover(family, packages_only=family == "kernels")]


class Animal(Protocol):
    """What an animal has."""

    LEGS: int
    NAME: str | None

    def speak(self, word: str, *, loud: bool = False) -> str:
        """Say a word."""


class Flying(Protocol):
    """An animal that flies."""

    WINGS: int

    def fly(self) -> None:
        """Fly."""


ANIMAL = {"LEGS": 4, "NAME": None, "speak": lambda word, *, loud=False: f"{word}{loud}"}


def planted(
    members: Registry[Any], content: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str = "planted"
) -> Registry[Any]:
    """Return a registry of the same family with one member of its own, a module with this content."""
    module = types.ModuleType(f"{name}_member")
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    copy: Registry[Any] = Registry(members.family, members.protocol, kind=members.kind, abilities=members.abilities)
    vars(copy)["sources"] = {name: module.__name__}
    return copy


def animals(content: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Registry[Any]:
    return planted(Registry("animals", Animal, kind="animal", abilities=[Flying]), content, monkeypatch, "cat")


@pytest.mark.parametrize(("family", "name"), MEMBERS, ids=[f"{family}-{name}" for family, name in MEMBERS])
def test_every_member_on_disk_satisfies_its_protocol(family: str, name: str) -> None:
    members = extension_points.registry_of(family)
    try:
        member = members[name]
    except KernelError as error:
        pytest.skip(str(error))
    for part in parts(members.protocol):
        assert hasattr(member, part)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_member_that_lacks_a_part_is_refused_by_name(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    members = extension_points.registry_of(family)
    whole = vars(members[next(iter(members))])
    assert planted(members, whole, monkeypatch)["planted"]
    for part in parts(members.protocol):
        without = {name: value for name, value in whole.items() if name != part}
        with pytest.raises(
            MemberError, match=rf"the {members.kind} 'planted' cannot be used: in .*{part}.* is missing"
        ):
            planted(members, without, monkeypatch)["planted"]


def test_every_family_with_members_has_a_registry() -> None:
    packages = {path.parent.name for path in pathlib.Path(registry.__file__).parent.glob("*/__init__.py")}
    assert {family.partition(".")[0] for family in FAMILIES} <= packages
    assert set(FAMILIES) == set(extension_points.CHECKS)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"LEGS": "four"}, "LEGS is 'four', and has to be of type int"),
        ({"NAME": 1}, r"NAME is 1, and has to be of type str \| None"),
        ({"speak": "miaow"}, "speak cannot be called"),
        ({"speak": lambda word: word}, r"cannot be called as speak\(word, \*, loud=False\): got an unexpected keyword"),
        ({"speak": lambda word, sound, *, loud=False: f"{word}{sound}{loud}"}, "missing a required argument: 'sound'"),
        ({"WINGS": 2}, r"fly\(\) is missing"),
    ],
    ids=[
        "a value of another type",
        "none of several types",
        "no function",
        "a keyword less",
        "an argument more",
        "half",
    ],
)
def test_what_a_member_has_otherwise_is_said(
    changed: dict[str, Any], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MemberError, match=complaint):
        animals({**ANIMAL, **changed}, monkeypatch)["cat"]


def test_an_ability_is_there_or_not_and_one_that_has_to_be_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    members = animals(ANIMAL, monkeypatch)
    assert members["cat"].speak("miaow") == "miaowFalse"
    assert members.able("cat", Flying) is None
    with pytest.raises(MemberError, match=r"WINGS is missing; fly\(\) is missing"):
        members.require("cat", Flying)
    bird = animals({**ANIMAL, "WINGS": 2, "fly": lambda: None}, monkeypatch)
    assert bird.require("cat", Flying).WINGS == 2


def test_an_unknown_name_comes_with_those_that_are_close() -> None:
    members = extension_points.registry_of("scorers")
    with pytest.raises(UnknownNameError, match=r"unknown scorer 'boxde'. Did you mean 'boxed'"):
        members["boxde"]


def test_members_are_files_and_packages_and_nothing_private(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    folder = tmp_path / "animals"
    for file in ("cat.py", "_fur.py", "big_dog/__init__.py", "house.toml", "_draft.toml"):
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setattr(registry, "_ROOT", tmp_path)
    assert discover("animals") == {"big-dog": "quantguard.animals.big_dog", "cat": "quantguard.animals.cat"}
    assert list(discover("animals", packages_only=True)) == ["big-dog"]
    assert list(discover_toml("animals")) == ["house"]
