"""What a command writes is written before it prints, and never over a file of another kind."""

import pathlib
import subprocess
import sys

import pytest

from quantguard import benchmarks, scorers
from quantguard.cli import __main__ as cli

SCORER = 'VERSION = "another/1"\n\n\ndef score(sample, generation):\n    return None\n'

ENTRY = [sys.executable, "-m", "quantguard.cli"]


def invoke(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["quantguard", *arguments])
    return cli.main()


EVALUATE = ("evaluate", "tiny-reasoner", "--subset", "2", "--max-new-tokens", "4", "--output")
BASELINE = pathlib.Path(__file__).parents[2] / "baselines/cpu/tiny-reasoner/w8a8/word-problems.json"


PROJECT = ("pyproject.toml", '[project]\nname = "x"\n')


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (EVALUATE, ("package.json", '{"name": "project"}')),
        (EVALUATE, ("baseline.json", BASELINE.read_text())),
        (EVALUATE, ("empty.json", "")),
        (("tune", "tiny-reasoner", "--output"), PROJECT),
        (("sensitivity", "tiny-reasoner", "--budget-bits", "5", "--output"), PROJECT),
        (("sensitivity", "tiny-reasoner", "--plot"), ("photo.svg", "mine")),
    ],
    ids=["a project's file", "a baseline", "an empty file", "tune", "sensitivity", "a picture"],
)
def test_a_file_of_another_kind_is_not_overwritten(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: pathlib.Path,
    arguments: tuple[str, ...],
    file: tuple[str, str],
) -> None:
    monkeypatch.setattr("quantguard.load", None)
    path, text = tmp_path / file[0], file[1]
    path.write_text(text)
    assert invoke(monkeypatch, *arguments, str(path)) == 2
    assert "the file is there and is no" in capsys.readouterr().err
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("folder", "it is a folder"),
        ("file/record.json", "there is no folder"),
        ("nowhere/record.json", "there is no folder"),
    ],
)
def test_a_place_where_nothing_can_be_written_is_told_before_the_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: pathlib.Path,
    name: str,
    complaint: str,
) -> None:
    monkeypatch.setattr("quantguard.load", None)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    assert invoke(monkeypatch, *EVALUATE, str(tmp_path / name)) == 2
    assert complaint in capsys.readouterr().err


def test_a_record_is_put_in_the_place_of_an_older_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "record.json"
    for _ in range(2):
        assert invoke(monkeypatch, *EVALUATE, str(path)) == 0
    assert "tiny-reasoner" in capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]


def test_what_is_given_for_a_record_is_told_as_what_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path
) -> None:
    assert invoke(monkeypatch, "compare", str(BASELINE), str(BASELINE)) == 2
    said = capsys.readouterr().err
    assert f"quantguard baseline diff {BASELINE}" in said
    assert f"--output {BASELINE}" not in said
    missing = tmp_path / "missing.json"
    assert invoke(monkeypatch, "compare", str(missing), str(missing)) == 2
    assert f"quantguard evaluate MODEL --output {missing}" in capsys.readouterr().err


def closed_pipe(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a command whose reader is gone before it has written anything."""
    with subprocess.Popen(["true"], stdin=subprocess.PIPE) as reader:
        assert reader.wait() == 0
        return subprocess.run(
            [*ENTRY, *arguments], stdout=reader.stdin, stderr=subprocess.PIPE, check=False, timeout=240
        )


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "arguments",
    [["list"], ["doctor", "--benchmark", "word-problems"], ["baseline", "show", str(BASELINE)]],
    ids=" ".join,
)
def test_a_reader_that_goes_away_ends_a_command_quietly(arguments: list[str]) -> None:
    ended = closed_pipe(*arguments)
    assert ended.returncode == 128 + 13
    assert ended.stderr == b""


@pytest.mark.timeout(300)
def test_a_record_does_not_go_with_the_reader_of_what_is_printed(tmp_path: pathlib.Path) -> None:
    ended = closed_pipe(*EVALUATE, str(tmp_path / "record.json"))
    assert ended.returncode == 128 + 13, ended.stderr
    assert (tmp_path / "record.json").is_file()


@pytest.mark.timeout(300)
def test_a_full_disk_behind_the_output_is_one_line() -> None:
    with pathlib.Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [*ENTRY, "list", "scorers"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=240
        )
    assert ended.returncode == 74
    assert b"No space left on device" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_another_broken_pipe_is_no_quiet_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> int:
        raise BrokenPipeError

    monkeypatch.setattr(cli, "_run", broken)
    monkeypatch.setattr(cli, "_has_no_reader", lambda _stream: False)
    with pytest.raises(BrokenPipeError):
        cli.main()


def test_a_member_of_another_distribution_without_docstring_is_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path
) -> None:
    for name, text in (
        ("silent_scorer", f"{SCORER}\n"),
        ("blank_scorer", f'"""  """\n{SCORER}\n'),
        ("broken_scorer", "1 / 0\n"),
    ):
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    sources = {name: f"{name}_scorer" for name in ("silent", "blank", "broken")}
    monkeypatch.setitem(vars(scorers.members), "sources", {**scorers.members.sources, **sources})
    monkeypatch.setitem(vars(benchmarks.members), "sources", {**benchmarks.members.sources, "b": "broken_scorer"})
    assert invoke(monkeypatch, "list") == 1
    shown = capsys.readouterr().out
    assert "silent\n" in shown
    assert "blank\n" in shown
    assert shown.count("NOT USABLE: ZeroDivisionError: division by zero") == 2
    assert "word-problems" in shown


def test_a_file_that_cannot_be_written_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path
) -> None:
    (tmp_path / "file").touch()
    folder = str(tmp_path / "file/below")
    assert invoke(monkeypatch, "quantize", "tiny-reasoner", "--recipe", "w8a8", "--output", folder) == 2
    assert "quantguard quantize: [Errno 20] Not a directory" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_costs_no_record(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("QUANTGUARD_CACHE", str(tmp_path / "file"))
    assert invoke(monkeypatch, *EVALUATE, str(tmp_path / "record.json")) == 0
    assert "quantguard evaluate: answers cannot be kept: [Errno 20] Not a directory" in capsys.readouterr().err
    assert (tmp_path / "record.json").is_file()
