"""Where faults are planted: a project of its own, with the default gates, and what they say of it.

A fault is a file of ``tests/faults``. Its docstring says what is wrong, and it has ``AREA``, the part that is broken;
``RECIPE``, the recipe that runs; ``EXPECTED``, the gates that must see it, none where none does; and ``plant(lab)``,
which breaks the running code, the recipe or the files of the project.
"""

import dataclasses
import importlib
import os
import pathlib
import shutil
import tomllib
import types
from collections.abc import Sequence
from typing import Any

import pytest
import tomli_w

from pytest_quantguard.result_log import logged_on, read_logged
from quantguard import baselines, registry
from quantguard.benchmarks import Benchmark
from quantguard.measures import fidelity
from quantguard.modeling import LoadedModel
from quantguard.pipeline import session as sessions

ROOT = pathlib.Path(__file__).parents[2]
FAULTS = ROOT / "tests/faults"
# The default gates, as the README gives them.
GATES = ROOT / "tests/gates/quantguard.toml"
AREAS = (
    "kernels",
    "packing",
    "rounding",
    "transforms",
    "KV cache",
    "recipes",
    "calibration",
    "engine",
    "scorer",
    "baselines",
)
# Of the 300 items of a baseline, which keeps the list affordable.
NUM_ITEMS = 120
# Weights that a rotation unties take more, and those of four bits are asked to take less.
MEMORY = {"quarot-w8a8kv8": 0.75, "gptq-w4a16": 0.45, "awq-w4a16": 0.45}
# About twice what each measures; the default gates are those of w8a8.
FIDELITY = {
    "awq-w4a16": {"max_kl": 0.0003},
    "gptq-w4a16": {"max_kl": 0.0007},
    "smoothquant-w8a8kv8": {"max_kl": 0.00008},
    "smoothquant-w8a8kv8-static": {"max_kl": 0.00012},
    "w3a16": {"max_kl": 0.03, "min_top1": 0.99},
}
# Where a fault may reach what full precision answers, which otherwise is the same for all.
CHANGES_FULL_PRECISION = ("engine", "kernels", "KV cache")
_ANSWERS: dict[str, Any] = {}
# A shorter prompt than the gate's own, for the same reason.
NUM_TIMED = 64
# One whose weights are dequantized for prefill is slower than full precision.
SPEED = {"gptq-w4a16": 0.2, "awq-w4a16": 0.2, "quarot-w8a8kv8": 0.3}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a gate says; ``CRASH`` is a traceback, which says nothing of the model."""

    gate: str
    outcome: str
    reason: str

    @property
    def is_alarm(self) -> bool:
        """Tell whether a named gate calls it broken."""
        return self.outcome in ("REGRESSED", "ERROR")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """What a fault is given: ``patch`` for the running code, and the project's folder and recipe."""

    patch: pytest.MonkeyPatch
    project: pathlib.Path
    recipe: str

    @property
    def baseline(self) -> pathlib.Path:
        """The file of the accuracy baseline."""
        return self.project / f"baselines/cpu/tiny-reasoner/{self.recipe}/word-problems.json"

    @property
    def profile(self) -> pathlib.Path:
        """The file of the layers' profile."""
        return self.baseline.with_name("layers.json")

    def rewrite(self, change: Any) -> None:
        """Change the accuracy baseline and store it with a hash that is right."""
        baselines.write(self.baseline, change(baselines.read(self.baseline)))


def names() -> list[str]:
    """List the faults, by area and name."""
    found = [path.stem for path in FAULTS.glob("[!_]*.py") if not path.stem.startswith("test_")]
    return sorted(found, key=lambda name: (AREAS.index(load(name).AREA), name))


def load(name: str) -> types.ModuleType:
    """Import a fault."""
    return importlib.import_module(f"tests.faults.{name}")


def project(
    folder: pathlib.Path,
    recipe: str,
    *,
    without: Sequence[str] = (),
    copy_baselines: bool = True,
    **settings: dict[str, Any],
) -> None:
    """Make a project with the default gates on a recipe; ``settings`` are added to those of a gate."""
    [gate] = tomllib.loads(GATES.read_text())["gate"]
    gate |= {"recipe": recipe}
    gate["memory"]["max_ratio"] = MEMORY.get(recipe, gate["memory"]["max_ratio"])
    gate["fidelity"] |= FIDELITY.get(recipe, {})
    gate["latency"]["num_tokens"] = NUM_TIMED
    gate["latency"]["min_speedup"] = SPEED.get(recipe, gate["latency"]["min_speedup"])
    for kind, more in settings.items():
        gate[kind] |= more
    folder.mkdir(parents=True, exist_ok=True)
    kept = {key: value for key, value in gate.items() if key not in without}
    (folder / "quantguard.toml").write_text(tomli_w.dumps({"gate": [kept]}))
    (folder / "pytest.ini").write_text("[pytest]\n")
    source = ROOT / "baselines/cpu/tiny-reasoner" / recipe
    if copy_baselines and source.is_dir():
        shutil.copytree(source, folder / "baselines/cpu/tiny-reasoner" / recipe, dirs_exist_ok=True)


class _Listener:
    """Takes down what the gates of a run say."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.crash: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for result in (read_logged(text).result for text in logged_on(report)):
            outcome = "CRASH" if result.traceback is not None else result.label
            self.seen.append(Seen(gate=result.gate, outcome=outcome, reason=result.verdict.reason))
        if report.failed and not logged_on(report):
            self.crash = str(report.longrepr).strip().splitlines()[-1]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.crash = str(report.longrepr).strip().splitlines()[-1]


def run_gates(folder: pathlib.Path, *options: str) -> list[Seen]:
    """Run ``pytest --quantguard`` on a project in this process, with nothing kept of earlier runs."""
    listener = _Listener()
    sessions._load_once.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        # Models that were fetched are not needed, and answers of other runs must not be found.
        patch.setenv("QUANTGUARD_CACHE", str(folder / "cache"))
        patch.delenv("CI", raising=False)
        patch.chdir(folder)
        arguments = [f"--rootdir={folder}", "--quantguard", "-q", "--no-header", "-p", "no:cacheprovider", *options]
        before = os.environ.get("PYTEST_CURRENT_TEST")
        pytest.main([*arguments, str(folder / "quantguard.toml")], plugins=[listener])
        if before is not None:
            patch.setenv("PYTEST_CURRENT_TEST", before)
    sessions._load_once.cache_clear()
    shutil.rmtree(folder / "cache", ignore_errors=True)
    if listener.crash is not None or not listener.seen:
        listener.seen.append(Seen(gate="none", outcome="CRASH", reason=listener.crash or "nothing ran"))
    return listener.seen


def healthy_project(folder: pathlib.Path, recipe: str, *, without: Sequence[str] = ()) -> None:
    """Make a project with the default gates, and measure the profile of the layers that the repository has not."""
    project(folder, recipe, without=[kind for kind in registry.gates if kind != "layerwise"])
    run_gates(folder, "--quantguard-update=new")
    project(folder, recipe, without=without)


def answer_once(patch: pytest.MonkeyPatch) -> None:
    """Let full precision write the text that predictions are compared on once for all runs to come."""
    answer = fidelity._answers

    def answered(reference: LoadedModel, data: Benchmark, *rest: Any) -> Any:
        if data.name not in _ANSWERS:
            _ANSWERS[data.name] = answer(reference, data, *rest)
        return _ANSWERS[data.name]

    patch.setattr(fidelity, "_answers", answered)


def run_fault(name: str, folder: pathlib.Path, *, without: Sequence[str] = ()) -> list[Seen]:
    """Plant a fault in a copy of the project of its recipe, which ``folder`` has or gets, and run the gates."""
    fault = load(name)
    healthy = folder / fault.RECIPE
    if not healthy.is_dir():
        healthy_project(healthy, fault.RECIPE, without=without)
    sick = folder / name
    shutil.copytree(healthy, sick)
    with pytest.MonkeyPatch.context() as patch:
        if fault.AREA not in CHANGES_FULL_PRECISION:
            answer_once(patch)
        fault.plant(Lab(patch=patch, project=sick, recipe=fault.RECIPE))
        seen = run_gates(sick, f"--quantguard-limit={NUM_ITEMS}")
    shutil.rmtree(sick)
    return seen
