"""Examining backends, benchmarks and models, whatever there are: each in a Python of its own."""

import concurrent.futures
import functools
import re
from collections.abc import Iterable, Mapping, Sequence

from quantguard import catalog, kernels
from quantguard.benchmarks import members as benchmark_sources
from quantguard.doctor import software
from quantguard.errors import UnknownNameError
from quantguard.host import interpreter
from quantguard.host.ascend import version_of
from quantguard.records import Diagnosis, Finding, Lack, from_json

_NUM_AT_ONCE = 2
# What models are loaded with; a backend needs the first, a benchmark none.
_LOADERS = ("torch", "transformers")
_MISSING_MODULE = re.compile(r"ModuleNotFoundError: No module named '([\w-]+)")
# What turns a .gguf file into a model: the extra ``gguf``.
_TO_CONVERT = ("accelerate", "gguf")


def diagnose(*, backends: Sequence[str] = (), benchmarks: Sequence[str] = (), models: Sequence[str] = ()) -> Diagnosis:
    """Examine the named backends, benchmarks and models, or all that there are where none is named.

    Raises UnknownNameError for a name that nobody has.
    """
    asked = bool(backends or benchmarks or models)
    wanted = [
        _known(kind, named, possible) if asked else list(possible)
        for kind, named, possible in (
            ("kernel backend", backends, kernels.backends()),
            ("benchmark", benchmarks, list(benchmark_sources)),
            ("model name", models, catalog.names()),
        )
    ]
    broken, environment = software.broken_imports(_LOADERS if wanted[2] else _LOADERS[: bool(wanted[0])])
    on_backend = functools.partial(_backend, broken=broken, environment=environment)
    on_model = functools.partial(_model, broken=broken)
    with concurrent.futures.ThreadPoolExecutor(_NUM_AT_ONCE) as pool:
        found = [pool.map(on_backend, wanted[0]), pool.map(_benchmark, wanted[1]), pool.map(on_model, wanted[2])]
    findings = [tuple(kind) for kind in found]
    return Diagnosis(
        asked=asked,
        installed=tuple(software.installed(broken)),
        backends=findings[0],
        benchmarks=findings[1],
        models=findings[2],
    )


def _known(kind: str, named: Iterable[str], possible: Sequence[str]) -> list[str]:
    for name in named:
        if name not in possible:
            raise UnknownNameError(kind, name, possible)
    return list(dict.fromkeys(named))


def _backend(name: str, *, broken: Mapping[str, Lack], environment: Mapping[str, str]) -> Finding:
    """Examine a backend; where torch does not load, it lacks that, besides what it lacks without torch's extensions."""
    torch = broken.get("torch")
    if torch is not None and not environment:
        return Finding(name=name, lacks=(torch,))
    found = _ask("backend", name, environment)
    return found if torch is None else Finding(name=name, lacks=(torch, *found.lacks))


def _benchmark(name: str) -> Finding:
    return _ask("benchmark", name, {})


def _model(name: str, *, broken: Mapping[str, Lack]) -> Finding:
    """Look for the files of a model, and for what loads it."""
    entry, lacks = catalog.entry(name), list(dict.fromkeys(broken.values()))
    folder = catalog.folder(entry)
    if not (folder / "config.json").is_file():
        if entry.source is None:
            lacks.append(Lack(what=f"it is not in {folder}", remedy="pip install --force-reinstall quantguard"))
        else:
            lacks += _to_fetch(name)
    elif not any(folder.glob("*.safetensors")):
        remedy = f"rm -r '{folder}' && quantguard fetch {name}" if entry.source else None
        lacks.append(Lack(what=f"{folder} has no weights", remedy=remedy))
    return Finding(name=name, lacks=tuple(lacks))


def _to_fetch(name: str) -> list[Lack]:
    absent = [package for package in _TO_CONVERT if version_of(package) is None]
    extra = [Lack(what=f"fetching it needs {' and '.join(absent)}", remedy="pip install 'quantguard[gguf]'")]
    return [*(extra if absent else []), Lack(what="it is not on this machine yet", remedy=f"quantguard fetch {name}")]


def _ask(kind: str, name: str, environment: Mapping[str, str]) -> Finding:
    """Examine in a Python of its own; what that Python does not survive is a lack."""
    answer = interpreter.call(f"quantguard.doctor.child:{kind}", name, environment=environment)
    if answer.failure is None:
        return from_json(Finding, answer.value)
    if answer.advises:
        return Finding(name=name, lacks=(Lack(what=answer.failure),))
    module = _MISSING_MODULE.search(answer.failure)
    # The whole traceback is one line of Python away.
    remedy = f"python -c 'from quantguard.doctor.child import *; {kind}(\"{name}\")'"
    return Finding(
        name=name, lacks=(Lack(what=answer.failure, remedy=f"pip install {module[1]}" if module else remedy),)
    )
