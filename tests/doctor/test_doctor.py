"""``quantguard doctor`` tells the truth on a sound machine and on broken ones, and finds new members by itself."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import textwrap
from typing import Any

import pytest
from packaging.requirements import Requirement

from quantguard import benchmarks, catalog, kernels
from quantguard.doctor import examination, software
from quantguard.records import Diagnosis, Finding, MissingRequirement, Software
from quantguard.report import diagnosis_text

ROOT = pathlib.Path(__file__).parents[2]
WITHOUT_AUTOLOAD = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
DOES_NOT_LOAD = "raise ImportError('libascendcl.so: cannot open shared object file')"
# It counts a device, as a driver that cannot be used does.
TAKES_NO_TENSOR = """
import types, torch
torch.npu = types.SimpleNamespace(is_available=lambda: True, device_count=lambda: 1)
def _autoload(): pass
"""
TORCH_IS_ABSENT = """
import importlib.metadata as metadata, sys

class Absent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

sys.meta_path.insert(0, Absent)
from_name = metadata.Distribution.from_name
def hide(name):
    if name == "torch":
        raise metadata.PackageNotFoundError(name)
    return from_name(name)
metadata.Distribution.from_name = hide
"""


def doctor(folder: pathlib.Path, *options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command with the packages below ``folder`` found before the real ones."""
    return subprocess.run(
        [sys.executable, "-m", "quantguard.cli", "doctor", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "QUANTGUARD_CACHE": str(folder / "cache"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def asked(folder: pathlib.Path, *options: str, status: int, **environment: str) -> dict[str, dict[str, Any]]:
    """Return the findings and the software by name, after checking the status."""
    finished = doctor(folder, "--json", *options, **environment)
    assert finished.returncode == status, finished.stdout + finished.stderr
    assert finished.stderr == ""
    table = json.loads(finished.stdout)
    assert table["usable"] == (status == 0)
    kinds = ("installed", "backends", "benchmarks", "models")
    return {one["name"]: one for kind in kinds for one in table[kind]}


def lacks(finding: dict[str, Any]) -> str:
    assert not finding["usable"]
    return "\n".join(f"{lack['what']} [{lack['remedy']}]" for lack in finding["lacks"])


def plant_torch_npu(folder: pathlib.Path, text: str) -> None:
    """Plant a torch_npu that torch loads by itself, as the real one."""
    (folder / "torch_npu.py").write_text(text)
    information = folder / "torch_npu-2.13.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: torch-npu\nVersion: 2.13.0\n")
    (information / "entry_points.txt").write_text("[torch.backends]\ntorch_npu = torch_npu:_autoload\n")


def test_a_sound_machine_is_sound_and_everything_there_is_was_examined(tmp_path: pathlib.Path) -> None:
    found = asked(tmp_path, status=0)
    for name in ("reference", "cpu", "text-fidelity", "word-problems", "tiny-reasoner"):
        assert found[name]["usable"], found[name]
    assert {*kernels.backends(), *benchmarks.members, *catalog.names()} <= set(found)
    assert found["torch"]["version"].startswith("2.")
    assert found["torch_npu"]["version"] is None


def test_what_is_asked_for_and_missing_is_status_1_with_what_to_type(tmp_path: pathlib.Path) -> None:
    finished = doctor(tmp_path, "--backend", "ascend")
    assert finished.returncode == 1
    assert "  ascend         NOT usable\n      torch_npu is not installed\n" in finished.stdout
    assert "type: pip install torch_npu==" in finished.stdout
    assert finished.stdout.endswith("What was asked for is NOT usable.\n")
    assert max(map(len, finished.stdout.splitlines())) <= 80


def test_a_torch_npu_that_breaks_import_torch_is_named_and_all_that_needs_torch_is_not_usable(
    tmp_path: pathlib.Path,
) -> None:
    plant_torch_npu(tmp_path, DOES_NOT_LOAD)
    found = asked(tmp_path, status=1)
    assert "torch_npu: ImportError: libascendcl.so" in found["torch"]["lack"]["what"]
    assert found["torch"]["lack"]["remedy"] == "export TORCH_DEVICE_BACKEND_AUTOLOAD=0"
    for name in ("reference", "cpu", "ascend", "tiny-reasoner"):
        assert "export TORCH_DEVICE_BACKEND_AUTOLOAD=0" in lacks(found[name])
    assert "torch_npu does not load: libascendcl.so" in lacks(found["ascend"])
    assert found["word-problems"]["usable"]
    assert found["torch_npu"]["version"] == "2.13.0"


def test_without_autoload_a_broken_torch_npu_harms_only_the_npu(tmp_path: pathlib.Path) -> None:
    plant_torch_npu(tmp_path, DOES_NOT_LOAD)
    found = asked(tmp_path, "--backend", "cpu", "--backend", "ascend", status=1, **WITHOUT_AUTOLOAD)
    assert found["cpu"]["usable"]
    assert found["torch"]["lack"] is None
    assert "torch_npu does not load: libascendcl.so" in lacks(found["ascend"])
    assert asked(tmp_path, "--backend", "cpu", status=0, **WITHOUT_AUTOLOAD)["cpu"]["usable"]


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (TAKES_NO_TENSOR, "torch_npu counts an Ascend NPU, and nothing can be put on npu:0"),
        (TAKES_NO_TENSOR.replace("1)", "0)"), "finds no Ascend NPU"),
        ("def _autoload(): pass", "finds no Ascend NPU"),
        ("import os\nos.abort()", "SIGABRT"),
    ],
    ids=["it takes no tensor", "it counts none", "it has no devices at all", "it aborts"],
)
def test_a_torch_npu_that_loads_and_does_not_work_is_not_usable(
    tmp_path: pathlib.Path, fault: str, complaint: str
) -> None:
    (tmp_path / "torch.py").write_text("def ones(*_, **__): raise RuntimeError('no aclrtSetDeviceSatMode')")
    plant_torch_npu(tmp_path, fault)
    found = asked(tmp_path, "--backend", "ascend", status=1, **WITHOUT_AUTOLOAD)
    assert complaint in lacks(found["ascend"])


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("sitecustomize.py", TORCH_IS_ABSENT, "torch is not installed [pip install 'torch>="),
        ("torch.py", "raise ImportError('libtorch.so: undefined')", "ImportError: libtorch.so: undefined"),
        ("torch.py", "import os\nos.abort()", "the process was ended by SIGABRT"),
    ],
    ids=["absent", "broken", "aborting"],
)
def test_without_a_torch_that_loads_the_doctor_still_reports(
    tmp_path: pathlib.Path, file: str, text: str, complaint: str
) -> None:
    (tmp_path / file).write_text(text)
    found = asked(tmp_path, status=1)
    for name in ("reference", "cpu", "ascend", "tiny-reasoner"):
        assert complaint in lacks(found[name])
    assert complaint.partition(" [")[0] in found["torch"]["lack"]["what"]
    assert found["word-problems"]["usable"]


# What a backend's package has.
BACKEND = "def missing(): return []\ndef trial_device(): return 'cpu'"
WORKING = "from quantguard.kernels.int8_linear import *"
WRONG = WORKING + "\ndef apply(*given, **settings):\n    return apply_right(*given, **settings) * 2\n"
MEMBERS = {
    "kernels/sound/__init__.py": BACKEND,
    "kernels/sound/int8_linear.py": WORKING,
    "kernels/wrong/__init__.py": BACKEND,
    "kernels/wrong/int8_linear.py": "from quantguard.kernels.int8_linear import apply as apply_right\n" + WRONG,
    "kernels/empty/__init__.py": BACKEND,
    "kernels/absent/__init__.py": BACKEND,
    "kernels/absent/int4_linear.py": "import no_such_compiler",
    "kernels/refusing/__init__.py": BACKEND,
    "kernels/refusing/int8_linear.py": WORKING + "\ndef unsupported(weights): return 'only 2 bits.'",
    "kernels/needy/__init__.py": """
        from quantguard.records import MissingRequirement
        def missing():
            return [MissingRequirement(what="no licence", remedy="needy login"), MissingRequirement(what="no luck")]
        def trial_device(): return "cpu"
    """,
    "kernels/needy/int8_linear.py": WORKING,
    "kernels/busy/__init__.py": "def missing(): return []\ndef trial_device(): return None",
    "kernels/busy/int8_linear.py": WORKING,
    "kernels/bare/__init__.py": "",
    "benchmarks/fetched.py": """
        from quantguard.records import MissingRequirement
        DESCRIPTION, LICENCE = "fetched items", "MIT"
        def missing():
            return [MissingRequirement(what="it is not on this machine yet", remedy="quantguard fetch fetched")]
        def load(): raise AssertionError
    """,
    "benchmarks/damaged.py": """
        from quantguard.errors import DataError
        def load(): raise DataError("damaged.jsonl is damaged. Type: quantguard fetch damaged")
    """,
    "benchmarks/deadly.py": "import os\nos.abort()",
}
EXPECTED = {
    "sound": None,
    "wrong": "a W8A8 linear on cpu is wrong: relative error 1 against the reference",
    "empty": "the backend empty has no quantized operation yet",
    "absent": "No module named 'no_such_compiler' [pip install no_such_compiler]",
    "refusing": "its W8A8 refuses plain 8-bit weights: only 2 bits.",
    "needy": "no licence [needy login]\nno luck [None]",
    "busy": None,
    "bare": "missing() is missing; trial_device() is missing",
    "fetched": "it is not on this machine yet [quantguard fetch fetched]",
    # What says itself what to type is not followed by advice on how to see its traceback.
    "damaged": "damaged.jsonl is damaged. Type: quantguard fetch damaged [None]",
    "deadly": "ended by SIGABRT [python -c 'from quantguard.doctor.probes import *; benchmark(\"deadly\")']",
}


def test_new_backends_and_benchmarks_are_found_and_examined_without_a_change_of_the_doctor(
    tmp_path: pathlib.Path,
) -> None:
    package = tmp_path / "quantguard"
    shutil.copytree(ROOT / "quantguard", package, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    for name, text in MEMBERS.items():
        path = package / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))
    found = asked(tmp_path, status=1)
    for name, complaint in EXPECTED.items():
        if complaint is None:
            assert found[name]["usable"], found[name]
        else:
            assert complaint in lacks(found[name])
    assert found["busy"]["note"] == "not tried: other runs hold every device"
    # The weights were left out of the copy.
    assert "has no weights" in lacks(found["tiny-reasoner"])


def test_a_model_that_is_not_there_says_how_to_fetch_it(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTGUARD_CACHE", str(tmp_path))
    monkeypatch.setattr(examination, "version_of", lambda name: None if name == "gguf" else "1.0")
    assert examination._model("smollm2-135m", broken={}).lacks == (
        MissingRequirement(what="fetching it needs gguf", remedy="pip install 'quantguard[gguf]'"),
        MissingRequirement(what="it is not on this machine yet", remedy="quantguard fetch smollm2-135m"),
    )
    folder = tmp_path / "models/smollm2-135m"
    folder.mkdir(parents=True)
    (folder / "config.json").touch()
    (lack,) = examination._model("smollm2-135m", broken={}).lacks
    assert lack == MissingRequirement(
        what=f"{folder} has no weights", remedy=f"rm -r '{folder}' && quantguard fetch smollm2-135m"
    )
    (folder / "model.safetensors").touch()
    assert examination._model("smollm2-135m", broken={}).usable


def test_a_package_of_another_version_is_a_lack() -> None:
    assert software.unmet(Requirement("torch>=2.0")) is None
    lack = software.unmet(Requirement("torch>=99"))
    assert lack is not None
    assert "and torch>=99 is needed" in lack.what
    assert lack.remedy == "pip install 'torch>=99'"
    assert {"torch", "transformers", "scipy"} <= set(software.requirements())
    assert not {"gguf", "ruff"} & set(software.requirements())


@pytest.mark.parametrize(
    ("torch", "torch_npu", "remedy"),
    [
        ("2.13.0+cpu", "2.13.0", None),
        ("2.13.0", "2.13.0.post2", None),
        ("2.13.0", "2.9.1", "pip install 'torch_npu==2.13.*'"),
        ("2.1.0", None, None),
    ],
)
def test_a_torch_npu_for_another_torch_is_a_lack(
    monkeypatch: pytest.MonkeyPatch, torch: str, torch_npu: str | None, remedy: str | None
) -> None:
    monkeypatch.setattr(software, "version_of", {"torch": torch, "torch_npu": torch_npu}.get)
    lack = software._misfit()
    assert (lack.remedy if lack else None) == remedy


def test_without_a_name_one_of_each_kind_has_to_be_usable() -> None:
    good, bad = Finding(name="good"), Finding(name="bad", lacks=(MissingRequirement(what="all"),))
    sound = (Software(name="python", version="3.11"),)
    kinds = {"backends": (good, bad), "benchmarks": (good,), "models": (bad, good)}
    assert Diagnosis(asked=False, installed=sound, **kinds).usable
    assert not Diagnosis(asked=True, installed=sound, **kinds).usable
    for kind in kinds:
        assert not Diagnosis(asked=False, installed=sound, **kinds | {kind: (bad,)}).usable
    unsound = (Software(name="torch", lack=MissingRequirement(what="torch is not installed")),)
    assert not Diagnosis(asked=False, installed=unsound, **kinds).usable


def test_the_text_keeps_to_80_columns_and_leaves_commands_whole() -> None:
    remedy = "pip install 'something>=1.0' && " + "x" * 80
    finding = Finding(
        name="bad",
        lacks=(MissingRequirement(what="many words " * 20, remedy=remedy), MissingRequirement(what="no more")),
    )
    installed = (
        Software(name="python", version="3.11"),
        Software(name="tqdm", version="4.0", notable=False),
        Software(
            name="numba",
            notable=False,
            lack=MissingRequirement(what="numba is not installed", remedy="pip install numba"),
        ),
    )
    lines = diagnosis_text.as_text(Diagnosis(asked=True, installed=installed, backends=(finding,))).splitlines()
    assert f"      type: {remedy}" in lines
    assert max(len(line) for line in lines if remedy not in line) <= 80
    assert lines[:4] == ["installed:", "  python  3.11", "  numba   not there", "      numba is not installed"]
    assert not any("tqdm" in line for line in lines)


@pytest.mark.parametrize(
    ("option", "name", "complaint"),
    [
        ("--backend", "ascent", "unknown kernel backend 'ascent'. Did you mean 'ascend'?"),
        ("--benchmark", "word-problem", "unknown benchmark 'word-problem'. Did you mean 'word-problems'?"),
        ("--model", "tiny", "unknown model name 'tiny'."),
    ],
)
def test_an_unknown_name_is_status_2(tmp_path: pathlib.Path, option: str, name: str, complaint: str) -> None:
    finished = doctor(tmp_path, option, name)
    assert finished.returncode == 2
    assert complaint in finished.stderr


def test_the_doctor_imports_no_torch_itself() -> None:
    code = (
        "import sys\nfrom quantguard.cli import doctor\n"
        "doctor.diagnose(benchmarks=['word-problems'])\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
