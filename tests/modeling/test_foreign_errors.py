"""What others raise is told with the file; what is ours, and an interrupted run, passes as it is."""

import pathlib

import pytest

import quantguard
from quantguard.errors import DataError, ModelError
from quantguard.modeling.foreign_errors import ErrorsToldAs


@pytest.mark.parametrize(
    ("raised", "told"),
    [(Exception("no header"), "FILE is damaged: no header"), (KeyError("x"), "FILE is damaged: KeyError: 'x'")],
    ids=["of no class", "of a class"],
)
def test_an_error_of_others_is_told_with_the_file(raised: Exception, told: str) -> None:
    with pytest.raises(ModelError) as caught, ErrorsToldAs("FILE is damaged"):
        raise raised
    assert str(caught.value) == told
    assert caught.value.__cause__ is raised


@pytest.mark.parametrize("raised", [DataError("ours"), KeyboardInterrupt()], ids=["ours", "an interrupted run"])
def test_ours_and_an_interrupted_run_pass(raised: BaseException) -> None:
    with pytest.raises(type(raised)) as caught, ErrorsToldAs("FILE is damaged"):
        raise raised
    assert caught.value is raised


def test_a_gguf_file_that_is_none_is_told_by_its_name(tmp_path: pathlib.Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF and no more")
    with pytest.raises(ModelError, match=r"m\.gguf"):
        quantguard.load(tmp_path / "m.gguf")
