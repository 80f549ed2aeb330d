"""List models, recipes, benchmarks and the other things that go by a name."""

import argparse
import functools
import importlib
from collections.abc import Callable

from quantguard import benchmarks, catalog, recipes
from quantguard.registry import Registry

# What the description of a member that raises begins with.
_BROKEN = "NOT USABLE"
HELP = "list models, recipes, benchmarks and more"
_FAMILIES = ("transforms", "rounding", "calibration", "scorers", "engines", "gates", "checkpoints")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the kind of thing to list."""
    kinds = ("models", "recipes", "benchmarks", "backends", *_FAMILIES)
    parser.add_argument("kind", nargs="?", choices=kinds, help="list only these")


def run(args: argparse.Namespace) -> int:
    """Print names and what they stand for; 1 where a member of another distribution cannot be imported."""
    kinds = _entries(args.kind)
    for kind, entries in kinds.items():
        print(f"{kind}:")
        width = max(map(len, entries), default=0)
        for name, description in entries.items():
            print(f"  {name:<{width}}  {description}".rstrip())
    return int(any(text.startswith(_BROKEN) for entries in kinds.values() for text in entries.values()))


def _entries(only: str | None) -> dict[str, dict[str, str]]:
    makers: dict[str, Callable[[], dict[str, str]]] = {
        "models": lambda: {
            name: f"{catalog.entry(name).description} {catalog.entry(name).licence}." for name in catalog.names()
        },
        "recipes": lambda: {name: recipes.load_recipe(name).description for name in recipes.names()},
        "benchmarks": _benchmarks,
        "backends": _backends,
        **{family: functools.partial(_family, family) for family in _FAMILIES},
    }
    return {kind: make() for kind, make in makers.items() if only in (None, kind)}


def _benchmarks() -> dict[str, str]:
    return {name: _described(functools.partial(_benchmark, name)) for name in benchmarks.members}


def _benchmark(name: str) -> str:
    """Describe a benchmark; one whose data is not here says what is missing."""
    downloaded = benchmarks.members.able(name, benchmarks.Downloaded)
    if downloaded is not None and (lacks := downloaded.missing()):
        return f"{downloaded.LICENCE}: {downloaded.DESCRIPTION}. {lacks[0].what}"
    data = benchmarks.members[name].load()
    return f"{len(data.samples)} items, {data.licence}: {data.description}"


def _backends() -> dict[str, str]:
    from quantguard.kernels import backends  # noqa: PLC0415 - imports torch

    return dict.fromkeys(["auto", *backends()], "")


def _family(family: str) -> dict[str, str]:
    members: Registry[object] = importlib.import_module(f"quantguard.{family}").members
    return {name: _described(functools.partial(_first_line, members, name)) for name in members}


def _first_line(members: Registry[object], name: str) -> str:
    """Return what a member says of itself, which is nothing where it has no docstring or Python has left it out."""
    return next(iter((members[name].__doc__ or "").strip().splitlines()), "")


def _described(describe: Callable[[], str]) -> str:
    """Describe a member; one that fails, which another distribution may bring, hides none of the others."""
    try:
        return describe()
    except Exception as error:  # noqa: BLE001 - whatever another's module raises is said beside its name
        return f"{_BROKEN}: {type(error).__name__}: {error}"
