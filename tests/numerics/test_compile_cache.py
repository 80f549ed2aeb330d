"""Machine code on disk belongs to all sources that it was made from."""

import importlib
import os
import pathlib
import pkgutil
import sys
import time
from collections.abc import Iterator
from typing import Any

import numba
import pytest
from numba.core.dispatcher import Dispatcher

import quantguard
from quantguard.numerics import compile_cache, source_hash
from quantguard.numerics.source_hash import sources_sha256

OURS = "from quantguard.numerics.compile_cache import compiled"
# What Numba offers itself: the fault that these tests have to see.
NUMBAS = "import numba\ndef compiled():\n    return numba.njit(cache=True)"
LOOP = """
{decorator}
from quantguard_made.parts import inner
@compiled()
def run(x):
    return inner.add(x)
"""
INNER = """
import numba
from quantguard_made.constants import ADDED
@numba.njit
def add(x):
    return x + ADDED
"""


@pytest.fixture
def package(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    """Yield the folder of a package whose loop takes a constant from a module that it does not import itself."""
    folder = tmp_path / "quantguard_made"
    (folder / "parts").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "parts/__init__.py").touch()
    (folder / "parts/inner.py").write_text(INNER)
    (folder / "constants.py").write_text("ADDED = 1\n")
    (folder / "loop.py").write_text(LOOP.format(decorator=OURS))
    monkeypatch.syspath_prepend(tmp_path)
    # Python's own compiled files are told apart by time and size alone.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield folder
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "quantguard_made"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    sources_sha256.cache_clear()
    source_hash._file.cache_clear()


def result() -> int:
    """Run the loop as a process that starts now would."""
    forget()
    return int(importlib.import_module("quantguard_made.loop").run(1))


def after_an_edit(package: pathlib.Path) -> tuple[int, int, int]:
    """Return what the loop gives at first, after an edit two imports away from it, and after the edit is undone."""
    before = result()
    (package / "constants.py").write_text("ADDED = 100\n")
    edited = result()
    (package / "constants.py").write_text("ADDED = 1\n")
    return before, edited, result()


def test_an_edit_of_what_a_compiled_loop_imports_is_compiled_and_so_is_its_undoing(package: pathlib.Path) -> None:
    assert after_an_edit(package) == (2, 101, 2)


def test_numbas_own_cache_goes_on_with_the_code_of_before(package: pathlib.Path) -> None:
    (package / "loop.py").write_text(LOOP.format(decorator=NUMBAS))

    assert after_an_edit(package) == (2, 2, 2)


def test_what_is_unchanged_is_not_compiled_again(package: pathlib.Path) -> None:
    result()
    result()

    assert sum(importlib.import_module("quantguard_made.loop").run.stats.cache_hits.values()) == 1
    assert len(list((package / "__pycache__/quantguard").iterdir())) == 1


def test_a_locator_from_the_environment_does_not_get_round_the_sources(
    package: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_LOCATOR_CLASSES", "InTreeCacheLocator")

    assert after_an_edit(package) == (2, 101, 2)


def test_where_no_folder_can_be_written_it_is_compiled_all_the_same(
    package: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numba.core.caching.CompileResultCacheImpl._locator_classes", [])

    assert after_an_edit(package) == (2, 101, 2)
    assert not (package / "__pycache__").exists()


def test_what_nobody_used_for_a_month_is_removed(package: pathlib.Path) -> None:
    result()
    [old] = (package / "__pycache__/quantguard").iterdir()
    long_ago = time.time() - compile_cache._LONGEST_UNUSED_S - 1
    os.utime(old, (long_ago, long_ago))
    (package / "constants.py").write_text("ADDED = 5\n")
    result()

    [new] = (package / "__pycache__/quantguard").iterdir()
    assert new != old


@pytest.mark.parametrize(
    "file",
    [
        pytest.param("loop.py", id="its own file"),
        pytest.param("parts/inner.py", id="what it imports"),
        pytest.param("constants.py", id="what that imports"),
    ],
)
def test_the_hash_of_a_module_is_of_all_that_it_is_made_from(package: pathlib.Path, file: str) -> None:
    before = sources_sha256("quantguard_made.loop")
    with (package / file).open("a") as stream:
        stream.write("# later\n")
    forget()

    assert sources_sha256("quantguard_made.loop") != before


def test_the_hash_of_a_module_is_not_of_others(package: pathlib.Path) -> None:
    before = sources_sha256("quantguard_made.loop")
    (package / "other.py").touch()
    forget()

    assert sources_sha256("quantguard_made.loop") == before


def test_a_module_without_a_source_is_named() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"quantguard\.absent has no source file"):
        sources_sha256("quantguard.absent")


def compiled_functions() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for folder in ("kernels.cpu", "numerics", "rounding"):
        package = importlib.import_module(f"quantguard.{folder}")
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            members = vars(importlib.import_module(info.name))
            found |= {f"{info.name}.{name}": value for name, value in members.items() if isinstance(value, Dispatcher)}
    return found


def test_every_compiled_function_is_kept_by_its_sources() -> None:
    functions = compiled_functions()

    assert len(functions) > 20
    assert [name for name, function in functions.items() if not isinstance(function._cache, compile_cache._Cache)] == []


def test_numba_compiles_nowhere_else() -> None:
    root = pathlib.Path(quantguard.__file__).parent
    named = {path.relative_to(root).as_posix() for path in root.rglob("*.py") if "njit" in path.read_text()}

    assert named == {"numerics/compile_cache.py"}
