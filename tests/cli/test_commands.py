"""The command line: every command is listed, works, and answers wrong input in one line."""

import pathlib
import subprocess
import sys

import pytest

from quantguard.cli import __main__ as cli
from quantguard.recipes import load_recipe


def invoke(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["quantguard", *arguments])
    return cli.main()


def test_help_names_every_command() -> None:
    text = cli.build_parser().format_help()
    for command in (
        "aa",
        "baseline",
        "compare",
        "doctor",
        "evaluate",
        "export",
        "fetch",
        "list",
        "plan",
        "sensitivity",
        "tune",
    ):
        assert f"    {command}" in text


def test_the_command_is_installed() -> None:
    finished = subprocess.run(
        [pathlib.Path(sys.executable).with_name("quantguard"), "--version"], capture_output=True, text=True, check=True
    )
    assert finished.stdout.startswith("quantguard ")


def test_list_shows_what_there_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(monkeypatch, "list") == 0
    shown = capsys.readouterr().out
    for name in ("tiny-reasoner", "smoothquant-w8a8", "word-problems", "1200 items, Apache-2.0", "gptq", "reference"):
        assert name in shown


def test_evaluate_then_compare(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path
) -> None:
    full, candidate = str(tmp_path / "full.json"), str(tmp_path / "w8a8.json")
    assert invoke(monkeypatch, "evaluate", "tiny-reasoner", "--subset", "70", "--output", full) == 0
    assert (
        invoke(monkeypatch, "evaluate", "tiny-reasoner", "--recipe", "w8a8", "--subset", "70", "--output", candidate)
        == 0
    )
    assert "int8_linear" in capsys.readouterr().out
    status = invoke(monkeypatch, "compare", candidate, full, "--tol", "0.3")
    assert capsys.readouterr().out.startswith("PASS  accuracy")
    assert status == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["evaluate", "tiny-reasonr"], "no short name"),
        (["evaluate", "tiny-reasoner", "--recipe", "w8"], "unknown recipe 'w8'"),
        (["evaluate", "tiny-reasoner", "--benchmark", "gsm9k"], "unknown benchmark 'gsm9k'"),
        (["evaluate", "tiny-reasoner", "--subset", "0"], "a subset of 0 is impossible"),
        (["evaluate", "tiny-reasoner", "--mode", "no_think", "--epochs", "2"], "repeat one answer"),
        (["fetch", "tiny-reasoner"], "there is nothing to fetch"),
        (["fetch", "smollm"], "Did you mean 'smollm2-135m'"),
        (["compare", "a.json", "b.json"], "a.json is no record"),
        (["baseline", "show", "none.json"], "there is no baseline"),
    ],
)
def test_wrong_input_is_answered_with_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert invoke(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert "Traceback" not in error


def test_a_baseline_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = pathlib.Path(__file__).parents[2] / "baselines/cpu/tiny-reasoner/w8a8/word-problems.json"
    assert invoke(monkeypatch, "baseline", "show", str(path)) == 0
    shown = capsys.readouterr().out
    assert "word-problems on tiny-reasoner, w8a8 (cpu), 300 answers" in shown
    assert "full precision" in shown


def test_sensitivity_names_layers_and_writes_a_mixed_recipe_that_can_be_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path
) -> None:
    picture, mixed = tmp_path / "s.svg", tmp_path / "mixed.toml"
    arguments = ["tiny-reasoner", "--top", "3", "--plot", str(picture), "--budget-bits", "5", "--output", str(mixed)]
    assert invoke(monkeypatch, "sensitivity", *arguments) == 0
    shown = capsys.readouterr().out
    assert shown.count("model.layers.") == 6  # three decoder layers and three linears
    assert "1 more of them have" in shown
    assert "KL with all of them quantized" in shown
    assert "KL predicted" in shown
    assert picture.read_text().startswith("<svg")
    recipe = load_recipe(mixed)
    assert recipe.overrides[0].weights is not None
    assert recipe.overrides[0].weights.num_bits == 8


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--budget-bits", "5"], "--budget-bits and --output go together"),
        (["--plot", "/nowhere/s.svg"], "there is no folder /nowhere"),
        (["--top", "0"], "at least one layer is listed"),
        (["--recipe", "w4a5"], "Did you mean 'w4a8' or 'w4a4'"),
    ],
    ids=["a budget without a file", "no folder", "nothing to list", "a misspelt recipe"],
)
def test_sensitivity_refuses(
    arguments: list[str], complaint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(monkeypatch, "sensitivity", "tiny-reasoner", *arguments) == 2
    assert complaint in capsys.readouterr().err
