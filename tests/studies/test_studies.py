"""The studies still run: a sample of each, so that none of them rots."""

import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
SAMPLES = {
    "cpu_linear": (["--pairs", "2"], "| 1x4096x4096 | 2 |"),
    "startup": (["--pairs", "2"], "the plugin adds"),
    "tiny_reasoner": (["--items", "5"], "| `w8a8` |"),
}


def test_every_study_has_a_sample_and_its_table() -> None:
    assert {path.stem for path in HERE.glob("*.py")} - {"test_studies"} == set(SAMPLES)
    assert all((HERE / f"{name}.md").is_file() for name in SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_of_the_study_runs(name: str) -> None:
    options, expected = SAMPLES[name]
    command = [sys.executable, str(HERE / f"{name}.py"), *options]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert expected in finished.stdout
