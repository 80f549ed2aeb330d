"""The examination of all backends, benchmarks and models, each probe in an interpreter of its own."""

import concurrent.futures
import functools
import re
from collections.abc import Iterable, Mapping, Sequence

from quantguard import catalog, kernels
from quantguard.benchmarks import members as benchmark_sources
from quantguard.doctor import software
from quantguard.errors import UnknownNameError
from quantguard.host import fresh_interpreter
from quantguard.host.npu_software import version_of
from quantguard.records import Diagnosis, Finding, MissingRequirement, from_json

_NUM_AT_ONCE = 2
# The packages that load models: a backend needs the first of them, a benchmark none.
_LOADERS = ("torch", "transformers")
_MISSING_MODULE = re.compile(r"ModuleNotFoundError: No module named '([\w-]+)")
# The packages of the extra ``gguf``, which convert a .gguf file into a model.
_TO_CONVERT = ("accelerate", "gguf")


def diagnose(*, backends: Sequence[str] = (), benchmarks: Sequence[str] = (), models: Sequence[str] = ()) -> Diagnosis:
    """Examine the named backends, benchmarks and models, or all of them if no name is given.

    Raises UnknownNameError for an unknown name.
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


def _backend(name: str, *, broken: Mapping[str, MissingRequirement], environment: Mapping[str, str]) -> Finding:
    """Examine a backend; if torch does not load, add that to what the backend lacks without torch's extensions."""
    torch = broken.get("torch")
    if torch is not None and not environment:
        return Finding(name=name, lacks=(torch,))
    found = _ask("backend", name, environment)
    return found if torch is None else Finding(name=name, lacks=(torch, *found.lacks))


def _benchmark(name: str) -> Finding:
    return _ask("benchmark", name, {})


def _model(name: str, *, broken: Mapping[str, MissingRequirement]) -> Finding:
    """Examine a model: are its files here, and the packages that load it?"""
    entry, lacks = catalog.entry(name), list(dict.fromkeys(broken.values()))
    folder = catalog.folder(entry)
    if not (folder / "config.json").is_file():
        if entry.source is None:
            lacks.append(
                MissingRequirement(what=f"it is not in {folder}", remedy="pip install --force-reinstall quantguard")
            )
        else:
            lacks += _to_fetch(name)
    elif not any(folder.glob("*.safetensors")):
        remedy = f"rm -r '{folder}' && quantguard fetch {name}" if entry.source else None
        lacks.append(MissingRequirement(what=f"{folder} has no weights", remedy=remedy))
    return Finding(name=name, lacks=tuple(lacks))


def _to_fetch(name: str) -> list[MissingRequirement]:
    absent = [package for package in _TO_CONVERT if version_of(package) is None]
    extra = [
        MissingRequirement(what=f"fetching it needs {' and '.join(absent)}", remedy="pip install 'quantguard[gguf]'")
    ]
    return [
        *(extra if absent else []),
        MissingRequirement(what="it is not on this machine yet", remedy=f"quantguard fetch {name}"),
    ]


def _ask(kind: str, name: str, environment: Mapping[str, str]) -> Finding:
    """Call a probe in an interpreter of its own; if that interpreter fails, its failure is the missing requirement."""
    answer = fresh_interpreter.call(f"quantguard.doctor.probes:{kind}", name, environment=environment)
    if answer.failure is None:
        return from_json(Finding, answer.value)
    if answer.advises:
        return Finding(name=name, lacks=(MissingRequirement(what=answer.failure),))
    module = _MISSING_MODULE.search(answer.failure)
    # The reason is one line; this command shows the whole traceback.
    remedy = f"python -c 'from quantguard.doctor.probes import *; {kind}(\"{name}\")'"
    return Finding(
        name=name,
        lacks=(MissingRequirement(what=answer.failure, remedy=f"pip install {module[1]}" if module else remedy),),
    )
