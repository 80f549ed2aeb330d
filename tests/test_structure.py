"""The code does without what hides mistakes."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
MODULES = sorted([*ROOT.glob("quantguard/**/*.py"), *ROOT.glob("pytest_quantguard/**/*.py")])
# Where what another distribution raises is said beside its name, and must not take what is decided along with it.
BORDERS = {"except Exception": {"pytest_quantguard/collecting.py", "quantguard/cli/list.py"}}


@pytest.mark.parametrize("word", ["torch.cuda", "except Exception", "except:", "TODO", "FIXME"])
def test_the_code_does_without(word: str) -> None:
    found = {path.relative_to(ROOT).as_posix() for path in MODULES if word in path.read_text()}
    assert found == BORDERS.get(word, set())


def test_only_devices_say_which_of_them_are_emulated() -> None:
    """But for the word that a user types behind ``--npu=``."""
    found = {path.relative_to(ROOT).as_posix() for path in MODULES if re.search(r"[\"']emulated", path.read_text())}
    assert {path for path in found if not path.startswith("quantguard/devices/")} == {"quantguard/run_options.py"}
