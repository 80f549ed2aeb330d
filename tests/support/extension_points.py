"""The table of extension points in CONTRIBUTING.md, as the Protocols of the families have it.

``python -m tests.support.extension_points`` writes the table anew.
"""

import functools
import importlib
import pathlib
import re
from typing import Any

from quantguard.registry import Registry, describe, parts

ROOT = pathlib.Path(__file__).parents[2]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
BEGINNING = "<!-- Written by python -m tests.support.extension_points -->\n"
END = "<!-- Until here -->\n"
_HEAD = "| to add | write | it must have | it may have | what holds it to that |\n|---|---|---|---|---|\n"
# Tests and checks that run over every member, besides tests/test_registry.py.
CHECKS = {
    "benchmarks": "`tests/benchmarks/`, `tests/doctor/`",
    "calibration": "`tests/calibration/`",
    "checkpoints": "`tests/checkpoints/`",
    "cli": "`tests/cli/test_commands.py`",
    "devices": "`tests/devices/`",
    "engines": "`tests/engines/`",
    "gates": "`tests/report/test_page.py`",
    "measures": "`tests/measures/test_measures.py`",
    "kernels": "`tests/kernels/test_backends.py`, `tests/doctor/`",
    "report.sections": "`tests/report/test_page.py`",
    "rounding": "the rounding law, `tests/laws/test_rounding.py`",
    "scorers": "`tests/scorers/`",
    "transforms": "the float law, `tests/laws/test_transforms.py`, which every run holds it to as well",
}
# What is no module: TOML, an operation of a backend, and what the tests have.
_OTHERS = [
    (
        "a recipe",
        "`quantguard/recipes/<name>.toml`",
        "`description`, `[weights]`",
        "",
        "`tests/recipes/`, and with transforms `tests/laws/test_compositions.py`",
    ),
    (
        "a model",
        "`quantguard/catalog/<name>.toml`",
        "`description`, `licence`, `dtype`, `[calibration]`, `folder` or `[source]`",
        "",
        "",
    ),
    (
        "an operation of a kernel backend",
        "`quantguard/kernels/<backend>/<op>.py`",
        "the functions of `kernels/<op>.py`",
        "",
        "`tests/kernels/test_backends.py`",
    ),
    (
        "a planted fault",
        "`tests/faults/<name>.py`",
        "`AREA`, `RECIPE`, `EXPECTED`, `plant(lab)`",
        "",
        "`tests/faults/test_faults.py`",
    ),
]


@functools.cache
def families() -> dict[str, str]:
    """Find the families that have a Registry; return the module of each, without importing it."""
    found = {}
    for path in sorted((ROOT / "quantguard").rglob("*.py")):
        declared = re.search(r'^members = Registry\("([\w.]+)"', path.read_text(), flags=re.MULTILINE)
        if declared:
            found[declared[1]] = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    return dict(sorted(found.items()))


def registry_of(family: str) -> Registry[Any]:
    """Return the Registry of a family."""
    members: Registry[Any] = importlib.import_module(families()[family]).members
    return members


def table() -> str:
    """Return the table as Markdown."""
    rows = [_row(registry_of(family)) for family in families()]
    cells = sorted([*rows, *_OTHERS], key=lambda row: row[0].partition(" ")[2])
    return _HEAD + "".join("|" + "".join(f" {cell} |" if cell else " |" for cell in row) + "\n" for row in cells)


def _row(members: Registry[Any]) -> tuple[str, str, str, str, str]:
    article = "an" if members.kind[0] in "aeiou" else "a"
    file = "<name>/__init__.py" if members.packages_only else "<name>.py"
    abilities = [f"{_sentence(ability)}: {_parts(ability)}" for ability in members.abilities]
    return (
        f"{article} {members.kind}",
        f"`quantguard/{members.family.replace('.', '/')}/{file}`",
        _parts(members.protocol),
        "; ".join(abilities),
        CHECKS[members.family],
    )


def _parts(protocol: type) -> str:
    return ", ".join(f"`{describe(name, wanted)}`" for name, wanted in parts(protocol).items())


def _sentence(ability: type) -> str:
    """Return what the docstring of an ability says of a member that has it."""
    first = (ability.__doc__ or "").splitlines()[0].rstrip(".")
    return (first[0].lower() + first[1:]).replace("``", "`")


def written(text: str) -> str:
    """Return a text of CONTRIBUTING.md with the table as it is now."""
    before, _, rest = text.partition(BEGINNING)
    return before + BEGINNING + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    CONTRIBUTING.write_text(written(CONTRIBUTING.read_text()))
