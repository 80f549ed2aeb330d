"""The hash of the source files that a module is made from: its own, and those of what it imports of its package.

What is compiled and kept on disk is named by it. Numba looks at the file of the compiled function alone, and Triton at
the functions that it calls: neither sees that an instruction or a constant of another module has changed.
"""

import ast
import functools
import hashlib
import importlib.util
import pathlib
from collections.abc import Iterator


@functools.cache
def sources_sha256(module: str) -> str:
    """Hash the sources of an importable module and of every module of the same top-level package that it imports.

    Returns 64 hex digits. Raises ModuleNotFoundError where ``module`` has no source file.
    """
    found: dict[str, pathlib.Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        file = _file(name)
        # Not every name that is imported is a module.
        if file is not None:
            found[name] = file
            waiting.extend(_imported(file, name))
    if module not in found:
        raise ModuleNotFoundError(f"{module} has no source file", name=module)
    total = hashlib.sha256()
    for name in sorted(found):
        total.update(f"{name} {hashlib.sha256(found[name].read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def _imported(file: pathlib.Path, module: str) -> Iterator[str]:
    """Yield the names that a source file imports of its package, in functions too, whether or not they are modules."""
    package = module.partition(".")[0]
    own = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), own)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] == package)


@functools.cache
def _file(name: str) -> pathlib.Path | None:
    """Return the source file of a module without importing it, or None where the name is no module."""
    package, *rest = name.split(".")
    spec = importlib.util.find_spec(package)
    for root in (spec.submodule_search_locations if spec else None) or ():
        place = pathlib.Path(root, *rest)
        for file in (place / "__init__.py", place.with_suffix(".py") if rest else place / "__init__.py"):
            if file.is_file():
                return file
    return None
