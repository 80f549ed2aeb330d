"""An option of a run is declared once: pytest, the command line and the options themselves agree on it."""

import argparse
import dataclasses
import pathlib
from typing import Any, get_args

import pytest

from pytest_quantguard.declared import _TARGET
from pytest_quantguard.fixtures import Guard
from quantguard.run_options import Inconclusive, RunOptions, Target, Update, from_typed, options
from quantguard.stats import METHODS

# What is typed for an option that takes a value, where its kind does not say it.
VALUES: dict[str, tuple[str, Any]] = {
    "npu": ("emulated", "emulated"),
    "data": ("folder", pathlib.Path("folder")),
    "report": ("folder", pathlib.Path("folder")),
    "baselines": ("folder", pathlib.Path("folder")),
    "accepted_regression": ("faster", "faster"),
}
ROOT = pathlib.Path("root")


def parsed(*typed: str) -> RunOptions:
    parser = argparse.ArgumentParser()
    for option in options():
        parser.add_argument(f"--{option.flag}", dest=option.name, **option.arguments)
    return from_typed(vars(parser.parse_args(typed)), root=ROOT)


def test_nothing_typed_is_the_defaults_below_the_root_folder() -> None:
    assert parsed() == RunOptions(baselines=ROOT / "baselines")


@pytest.mark.parametrize("name", [option.name for option in options()])
def test_what_is_typed_arrives_in_its_field_and_in_no_other(name: str) -> None:
    [option] = options(name)
    value: Any = True
    typed = [f"--{option.flag}"]
    if option.arguments.get("action") != "store_true":
        others = [choice for choice in option.arguments.get("choices", ()) if choice != option.arguments["default"]]
        text, value = (others[0], others[0]) if others else VALUES.get(name, ("7", 7))
        typed.append(text)
    expected: Any = {name: value}
    assert parsed(*typed) == dataclasses.replace(parsed(), **expected)
    assert parsed(*typed) != parsed()


def test_every_field_is_an_option_or_an_ini_option() -> None:
    fields = {field.name for field in dataclasses.fields(RunOptions)}
    assert fields - {option.name for option in options()} == {"kept_baselines"}


@pytest.mark.parametrize(
    ("name", "possible"),
    [("update", get_args(Update)), ("inconclusive", get_args(Inconclusive)), ("early_stop", METHODS)],
    ids=["update", "inconclusive", "early_stop"],
)
def test_what_may_be_typed_is_what_the_field_may_hold(name: str, possible: tuple[str, ...]) -> None:
    assert options(name)[0].arguments["choices"] == possible


def test_every_option_has_a_help_that_documents_its_field() -> None:
    assert all(len(option.arguments["help"]) > 20 for option in options())


def test_a_gate_of_a_file_takes_what_guard_check_takes() -> None:
    names = set(Guard.check.__annotations__) - {"return"}
    assert set(_TARGET) == names == {field.name for field in dataclasses.fields(Target)}
