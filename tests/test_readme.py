"""What the README and CONTRIBUTING say is so."""

import contextlib
import io
import pathlib
import re
import shlex

import pytest

from quantguard import recipes
from quantguard.cli.__main__ import build_parser
from tests.support import extension_points

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_python_example_runs() -> None:
    example = next(block for block in blocks("python") if "quantguard.load(" in block)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example, "README.md", "exec"), {})
    assert printed.getvalue().startswith("PASS")


def test_the_gate_of_the_readme_passes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_release=next(block for block in blocks("python") if "guard.check(" in block))
    result = pytester.runpytest_inprocess("--quantguard", f"--quantguard-baselines={ROOT / 'baselines'}")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["quantguard: 2 PASS"])


def test_the_gates_to_begin_with_are_those_that_faults_are_run_through() -> None:
    assert (ROOT / "tests/gates/quantguard.toml").read_text() in blocks("toml")


def test_the_red_example_is_red_for_the_right_reason(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_red=(ROOT / "tests/examples/red.py").read_text())
    result = pytester.runpytest_inprocess("--quantguard", f"--quantguard-baselines={ROOT / 'baselines'}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*REGRESSED*accuracy: word-problems on tiny-reasoner, w3a16*"])


def test_every_command_line_is_understood() -> None:
    lines = [line.split("#")[0].split("&&")[-1].strip() for block in blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("quantguard ")]
    assert len(commands) >= 5
    for command in commands:
        build_parser().parse_args(command)


def test_every_option_that_is_named_exists(pytester: pytest.Pytester) -> None:
    shown = pytester.runpytest_inprocess("--help").stdout.str()
    for option in set(re.findall(r"--quantguard[a-z-]*|--npu", README)):
        assert option in shown


def test_every_shipped_recipe_is_named() -> None:
    assert all(f"`{name}`" in README for name in recipes.names())


def test_the_table_of_extension_points_is_what_the_protocols_say() -> None:
    text = extension_points.CONTRIBUTING.read_text()
    assert text == extension_points.written(text), "type: python -m tests.support.extension_points"
    assert all(f"`quantguard/{family.replace('.', '/')}/<" in text for family in extension_points.families())


def test_nothing_is_left_to_fill_in() -> None:
    assert not re.search(r"@[A-Z_]+@", README)
