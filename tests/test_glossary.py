"""The glossary names owners that are there."""

import pathlib
import pkgutil
import re

import pytest

GLOSSARY = (pathlib.Path(__file__).parents[1] / "docs/glossary.md").read_text()
ROWS = [row.strip("| ").split(" | ") for row in GLOSSARY.splitlines() if row.startswith("| ") and row.count(" | ") == 2]
OWNERS = {name: re.findall(r"`([a-z_]+(?:\.\w+)*)`", owner) for name, _, owner in ROWS if owner != "owner"}


@pytest.mark.parametrize(("name", "owner"), [(name, owner) for name, owners in OWNERS.items() for owner in owners])
def test_the_owner_of_a_name_is_there(name: str, owner: str) -> None:
    found = pkgutil.resolve_name(owner)
    # A name that is an identifier is one of its owner's.
    if re.fullmatch(r"`[A-Z]\w+`", name):
        assert hasattr(found, name.strip("`"))


def test_every_name_has_an_owner() -> None:
    assert len(OWNERS) >= 40
    assert all(OWNERS.values())
