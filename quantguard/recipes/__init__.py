"""Recipes are TOML files: those beside this module by name, a user's own by path."""

import pathlib
from typing import Any

import tomli_w

from quantguard.errors import RecipeError, RecordError, UnknownNameError
from quantguard.records import Recipe, from_json, to_json
from quantguard.records.files import parse_toml, read_text
from quantguard.registry import discover, discover_toml


def names() -> list[str]:
    """List the shipped recipes."""
    return list(discover_toml("recipes"))


def load_recipe(name_or_path: str | pathlib.Path) -> Recipe:
    """Read a recipe by name, or from a path where ``name_or_path`` ends in ``.toml``.

    Raises UnknownNameError for an unknown name and RecipeError for a file that is no valid recipe.
    """
    text = str(name_or_path)
    if text.endswith(".toml"):
        path = pathlib.Path(text)
        if not path.is_file():
            raise RecipeError(f"there is no recipe file {text}; shipped recipes go by name: {', '.join(names())}")
        return _read(path)
    shipped = discover_toml("recipes")
    if text not in shipped:
        raise UnknownNameError(
            "recipe", text, shipped, advice="A recipe of your own is given as a path to a .toml file."
        )
    return _read(shipped[text])


def dump_recipe(recipe: Recipe) -> str:
    """Write a recipe as the TOML that :func:`load_recipe` reads back; what is absent is left out."""
    return tomli_w.dumps(_present(to_json(recipe)))


def _present(value: Any) -> Any:
    """Leave out entries that are absent: TOML has no null."""
    if isinstance(value, dict):
        return {key: _present(entry) for key, entry in value.items() if entry is not None}
    return [_present(entry) for entry in value] if isinstance(value, list) else value


def _read(path: pathlib.Path) -> Recipe:
    try:
        table = parse_toml(read_text(path))
        table.setdefault("name", path.stem)
        recipe = from_json(Recipe, table, where=path.name)
    except RecordError as error:
        raise RecipeError(f"the recipe {path} cannot be used: {error}") from error
    for name in recipe.transforms:
        _require("transforms", "transform", name)
    _require("rounding", "rounding", recipe.rounding)
    return recipe


def _require(family: str, kind: str, name: str) -> None:
    """Refuse a name that a family does not have; its members, which load torch, are not imported."""
    possible = discover(family)
    if name not in possible:
        raise UnknownNameError(kind, name, possible)
