"""Declared gates that share a baseline: refused at collection if an update of one would break the other."""

from __future__ import annotations

import contextlib
import pathlib
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Names(NamedTuple):
    """The names that make up a baseline's path, as far as they are known before a model is loaded."""

    platform: str
    model: str
    recipe: str
    subject: str


class _Claim(NamedTuple):
    """A declared gate, and the facts about its baseline that are not in its path."""

    gate: str
    facts: dict[str, str | None]


_CLAIMS = pytest.StashKey[dict[_Names, _Claim]]()


def clash(config: pytest.Config, gate: str, target: Mapping[str, str], gates: Mapping[str, Any]) -> str | None:
    """Claim the baselines of a declared gate; return what is wrong if another gate uses one for a different run.

    Gates that differ in ``subset`` alone share a baseline, since their draws are nested.
    """
    from quantguard.gates import Stored  # noqa: PLC0415 - an unrelated run does not pay for what only gates need
    from quantguard.gates import members as kinds  # noqa: PLC0415 - an unrelated run does not pay for what only gates need

    claims = config.stash.setdefault(_CLAIMS, {})
    mine = _Claim(gate, _facts(target))
    for kind, settings in gates.items():
        stored = kinds.able(kind, Stored)
        subject = None if stored is None else stored.baseline_name(settings)
        if subject is None:
            continue
        other = claims.setdefault(_names(target, subject), mine)
        different = [
            f"{key} is {mine.facts[key]} and {other.facts[key]}"
            for key in mine.facts
            if mine.facts[key] != other.facts[key] and (key != "reference" or None not in _pair(mine, other, key))
        ]
        if different:
            return (
                f"{gate} and {other.gate} share one baseline, {subject}, and are not of the same run:"
                f" {'; '.join(different)}. An update of one would break the other. Give one of them a model or recipe"
                " of another name, or a run with --quantguard-baselines=DIR of its own"
            )
    return None


def _pair(one: _Claim, other: _Claim, key: str) -> tuple[str | None, str | None]:
    return one.facts[key], other.facts[key]


def _facts(target: Mapping[str, str]) -> dict[str, str | None]:
    return {
        "model": _resolved(target["model"]),
        "recipe": _resolved(target.get("recipe")),
        "engine": target.get("engine") or ("openai" if target.get("endpoint") else None),
        "reference": _resolved(target.get("reference")),
    }


def _resolved(name: str | None) -> str | None:
    """Return the absolute path of an existing file or folder, and any other name unchanged."""
    return str(pathlib.Path(name).resolve()) if name is not None and pathlib.Path(name).exists() else name


def _names(target: Mapping[str, str], subject: str) -> _Names:
    from quantguard import catalog, devices, recipes  # noqa: PLC0415
    from quantguard.errors import QuantguardError  # noqa: PLC0415

    served = bool(target.get("engine") or target.get("endpoint"))
    model, recipe = target["model"], target.get("recipe", "full-precision")
    here = not served and catalog.find(model) is None and pathlib.Path(model).exists()
    # If the recipe is wrong, the gate itself reports it.
    with contextlib.suppress(QuantguardError):
        recipe = recipes.load_recipe(recipe).name if "recipe" in target else recipe
    return _Names(
        platform="endpoint" if served else devices.device_type(target.get("device", "cpu")),
        model=pathlib.Path(model).resolve().name if here else model,
        recipe=recipe,
        subject=subject,
    )
