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


COMPARED = re.compile(r"""(?:==|!=|\bin|startswith\() ?["']emulated""")


def test_nobody_compares_with_emulated() -> None:
    """Which devices are is said by ``quantguard.devices``."""
    assert COMPARED.search('if platform.startswith("emulated"):')
    assert [path.relative_to(ROOT).as_posix() for path in MODULES if COMPARED.search(path.read_text())] == []
