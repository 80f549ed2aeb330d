"""The studies still run: a sample of each, so that none of them rots."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

from quantguard.benchmarks import _data_files
from quantguard.catalog import cache_folder

HERE = pathlib.Path(__file__).parent
SAMPLES = {
    "answers": (["--golds", "40"], "| 780 |"),
    "architectures": (["--only", "llama", "gemma"], "| llama | right |"),
    "cpu_linear": (["--rounds", "2", "--tokens", "8", "--decoder-layers", "1"], "| decoder | 2 | W4A8 |"),
    "decisions": (["--runs", "20"], "| 500 | 5% | group-sequential |"),
    "export": (
        ["--folder", "FOLDER", "--hidden-size", "64", "--layers", "3", "--vocabulary", "4096"],
        "No rule of the format is broken",
    ),
    "flatquant": (["--items", "5", "--samples", "2", "--rates", "2"], "stopped: model.layers.0: FlatQuant diverged"),
    "float_law": (
        ["--recipes", "smoothquant-w8a8", "--dtypes", "float32", "--rounds", "1"],
        "| tiny-reasoner | float32 | `smoothquant-w8a8` |",
    ),
    "generation": (
        ["--without-peer", "--items", "5", "--rounds", "1", "--tasks", "word-problems"],
        "| word-problems | quantguard |",
    ),
    "latency": (["--runs", "1", "--stages", "prefill", "--without-busy-loop"], "| prefill | 15 % slower"),
    "methods": (["--layers", "1", "--samples", "2", "--only", "w8a8", "smoothquant-w8a8"], "| smoothquant-w8a8 |"),
    "msmodelslim": (["--folder", "FOLDER"], "| sample | 0.00 % | 0 |"),
    "overhead": (["--items", "5", "--rounds", "1"], "| 5 items, round |"),
    "peer": (["--layers", "1", "--samples", "1", "--rounds", "1"], "| gptq | llm-compressor |"),
    "planted_faults": (["--only", "bias_added_twice", "--runs", "1", "--pool", "70"], "| `bias_added_twice` |"),
    "programs": (["--items", "2"], "| mbpp | always equal | 0 of 2 |"),
    "report": (["--gates", "2", "--items", "50"], "| report.html, summary.md, results.json |"),
    "round_trip": (["--recipes", "w3a16", "--items", "1"], "| `w3a16` | yes | 0.00 | 1 of 1 |"),
    "streaming": (
        ["--folder", "FOLDER", "--hidden-size", "64", "--layers", "3", "--vocabulary", "4096"],
        "files of the two folders are identical",
    ),
    "startup": (["--pairs", "2"], "the plugin adds"),
    "tiny_reasoner": (["--items", "5", "--recipes", "w8a8", "--batch-sizes", "2"], "| `w8a8` |"),
}

NEED_WEIGHTS = {"methods": "smollm2-135m", "peer": "smollm2-135m"}
NEED_DATA = {"answers", "programs"}
NEED_PACKAGE = {"peer": "llmcompressor"}


def test_every_study_has_a_sample_and_its_table() -> None:
    assert {path.stem for path in HERE.glob("[!_]*.py")} - {"test_studies"} == set(SAMPLES)
    assert all((HERE / f"{name}.md").is_file() for name in SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_of_the_study_runs(name: str, tmp_path: pathlib.Path) -> None:
    options, expected = SAMPLES[name]
    if name in NEED_WEIGHTS and not cache_folder(NEED_WEIGHTS[name]).exists():
        pytest.skip(f"needs the model; type: quantguard fetch {NEED_WEIGHTS[name]}")
    if name in NEED_PACKAGE and importlib.util.find_spec(NEED_PACKAGE[name]) is None:
        pytest.skip(f"needs an environment with {NEED_PACKAGE[name]}; type: pip install {NEED_PACKAGE[name]}==0.14.0.1")
    if name in NEED_DATA and _data_files.VARIABLE not in os.environ:
        pytest.skip(f"needs the benchmarks' files: export {_data_files.VARIABLE}=FOLDER")
    command = [sys.executable, str(HERE / f"{name}.py"), *(str(tmp_path) if o == "FOLDER" else o for o in options)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert expected in finished.stdout
    assert "failed" not in finished.stdout
