"""Whatever a call does to its Python, the caller learns of it and goes on."""

import pathlib

import pytest

from quantguard.host.fresh_interpreter import Answer, call

# Another interpreter is waited for.
pytestmark = pytest.mark.timeout(300)

MODULE = """
import os, sys, time
from quantguard.errors import KernelError

def add(left, right): print("noise"); return {"sum": left + right}
def refuse(): raise KernelError("no NPU. Type: npu-smi info")
def fail(): raise ValueError("two lines\\nand the second")
def leave(): os._exit(3)
def abort(): os.abort()
def hang(): time.sleep(60)
def variable(): return os.environ.get("PLANTED")
def noise(): print("half a line", end=""); return None
"""


@pytest.fixture(autouse=True)
def planted(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_a_value_comes_back_past_what_libraries_print() -> None:
    assert call("planted:add", "a", "b") == Answer(value={"sum": "ab"})
    assert call("planted:noise") == Answer(value=None)


@pytest.mark.parametrize(
    ("name", "failure"),
    [
        ("fail", "ValueError: two lines"),
        ("leave", "the process ended with status 3 and said nothing"),
        ("abort", "the process was ended by SIGABRT"),
    ],
)
def test_a_failure_comes_back_in_one_line(name: str, failure: str) -> None:
    assert call(f"planted:{name}") == Answer(failure=failure)


def test_an_error_of_ours_is_told_from_one_that_says_nothing_of_what_to_type() -> None:
    assert call("planted:refuse") == Answer(failure="no NPU. Type: npu-smi info", advises=True)


def test_a_call_that_hangs_is_ended() -> None:
    assert call("planted:hang", timeout_seconds=1) == Answer(failure="no answer within 1 s")


def test_a_module_that_is_not_there_is_a_failure() -> None:
    assert call("no_such_module:run") == Answer(failure="ModuleNotFoundError: No module named 'no_such_module'")


def test_the_environment_can_be_added_to() -> None:
    assert call("planted:variable", environment={"PLANTED": "1"}) == Answer(value="1")


def test_a_file_in_the_current_folder_is_not_taken_for_a_library(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "json.py").write_text("raise AssertionError\n")
    monkeypatch.chdir(here)
    assert call("planted:variable") == Answer(value=None)
