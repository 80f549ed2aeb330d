"""The code keeps its shape: small modules, small functions, no catching of everything."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
MODULES = sorted([*ROOT.glob("quantguard/**/*.py"), *ROOT.glob("pytest_quantguard/**/*.py")])
LONGEST_MODULE, LONGEST_FUNCTION = 300, 50


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_are_short(path: pathlib.Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_MODULE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name


def test_most_functions_are_under_fifteen_lines() -> None:
    lengths = [
        (node.end_lineno or 0) - node.body[0].lineno + 1
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    ]
    assert sum(length < 15 for length in lengths) > 0.8 * len(lengths)


@pytest.mark.parametrize("word", ["torch.cuda", "except Exception", "except:", "TODO", "FIXME"])
def test_the_code_does_without(word: str) -> None:
    assert [str(path) for path in MODULES if word in path.read_text()] == []
