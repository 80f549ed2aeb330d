"""Loops that Numba compiles, and its machine code kept on disk under the hash of all sources that it was made from.

Numba's own ``cache=True`` takes a function for unchanged while the file that it stands in is. What the file imports,
such as the instructions of :mod:`quantguard.kernels.cpu.compiled.lines`, ends up in the machine code as well.
"""

import contextlib
import os
import pathlib
import shutil
import time
from collections.abc import Callable
from typing import Any

import llvmlite
import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache

from quantguard.numerics.source_hash import sources_sha256

# What other sources left is removed when it has not been used for so long.
_LONGEST_UNUSED_S = 30 * 24 * 3600


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function on first use, without Python's lock; ``options`` are numba.njit's.

    The machine code is kept where Numba would keep it, in a folder named by the hash of the sources. Where no folder
    can be written, it is compiled in every process.
    """

    def compile_(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(nogil=True, **options)(function)
        # Numba says that it found no folder to write in by a RuntimeError.
        with contextlib.suppress(RuntimeError):
            dispatcher._cache = _Cache(function)  # noqa: SLF001 - what cache=True sets, which takes no other class
        return dispatcher

    return compile_


class _InFolderOfSources:
    """A place that Numba chose, and in it a folder for what these sources were compiled to."""

    def __init__(self, place: Any, module: str) -> None:
        name = f"{sources_sha256(module)[:16]}-llvmlite-{llvmlite.__version__}"
        self._place, self._folder = place, pathlib.Path(place.get_cache_path(), "quantguard", name)

    def ensure_cache_path(self) -> None:
        """Make the folder, and remove those of sources that nobody has used for a month."""
        if not self._folder.is_dir():
            _remove_unused(self._folder.parent)
        self._folder.mkdir(parents=True, exist_ok=True)
        os.utime(self._folder)

    def get_cache_path(self) -> str:
        """Return the folder."""
        return str(self._folder)

    def __getattr__(self, name: str) -> Any:
        """Leave what is not about the folder to Numba."""
        return getattr(self._place, name)


class _CacheImpl(CompileResultCacheImpl):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call, unused-ignore] # not all of Numba has types
        self._locator = _InFolderOfSources(self._locator, function.__module__)


class _Cache(FunctionCache):
    _impl_class = _CacheImpl

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call, unused-ignore] # as above


def _remove_unused(parent: pathlib.Path) -> None:
    oldest = time.time() - _LONGEST_UNUSED_S
    for folder in parent.glob("*"):
        # Another process may remove it at the same time.
        with contextlib.suppress(FileNotFoundError):
            if folder.stat().st_mtime < oldest:
                shutil.rmtree(folder)
