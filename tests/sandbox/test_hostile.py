"""Programs that want to pass, to look, to break out or to do harm: none passes, and none does."""

import contextlib
import ctypes
import os
import pathlib
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from quantguard import sandbox
from quantguard.errors import SandboxError
from quantguard.sandbox import CallTests, Isolation, Limits, ProgramResult, bubblewrap, launcher, probe

# Programs are started and killed here.
pytestmark = pytest.mark.timeout(300)

VARIABLE = "QUANTGUARD_TEST_SECRET"
PR_SET_CHILD_SUBREAPER = 36
PATIENCE_SECONDS = 20.0
UNSAFE = Isolation(bwrap=None)


class Hostile(NamedTuple):
    program: str
    kind: str
    rules: list[str]

    @property
    def limits(self) -> Limits:
        """Long ones, for a busy machine, except for what uses up any."""
        return Limits(
            cpu_seconds=1 if "time-limit" in self.rules else 10,
            wall_seconds=2.0 if self.rules == ["wall-limit"] else 60.0,
            memory_bytes=256 << 20,
            output_bytes=4 << 20,
            num_threads=16,
        )


def read_programs() -> dict[str, Hostile]:
    text = pathlib.Path(__file__).with_name("hostile.txt").read_text(encoding="utf-8")
    parts = re.split(r"^=== (.*) \| (calls|input) \| (.*)\n", text, flags=re.MULTILINE)[1:]
    quadruples = zip(parts[::4], parts[1::4], parts[2::4], parts[3::4], strict=True)
    return {name: Hostile(program, kind, rules.split()) for name, kind, rules, program in quadruples}


PROGRAMS = read_programs()


class Surroundings(NamedTuple):
    """What a program must neither see nor change."""

    canary: pathlib.Path
    secret: str

    def run(self, isolation: Isolation, name: str) -> ProgramResult:
        hostile, limits = PROGRAMS[name], PROGRAMS[name].limits
        program = hostile.program.replace("CANARY", str(self.canary)).replace("SECRET", VARIABLE)
        token = f"token-{secrets.token_hex(16)}"
        if hostile.kind == "input":
            return sandbox.run_inputs(isolation, [program], [("3\n", token)], limits=limits)
        tests = f"assert answer('a') == {token!r}\nassert answer('b') != answer('a')"
        return sandbox.run_calls(
            isolation, [program], CallTests(targets={"answer": "answer"}, tests=tests), limits=limits
        )

    def harm(self, outcome: ProgramResult) -> list[str]:
        """Say what a program saw or changed."""
        harm = []
        if self.secret in outcome.detail or "seen" in outcome.detail:
            harm.append(f"it saw what it should not: {outcome.detail}")
        if self.canary.read_text() != "untouched":
            harm.append("it changed a file")
        return harm


@pytest.fixture
def surroundings(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Surroundings]:
    canary, secret = tmp_path / "canary", "a-secret-that-every-worker-of-xdist-knows"
    canary.write_text("untouched")
    canary.chmod(0o666)
    monkeypatch.setenv(VARIABLE, secret)
    # What is set above is not seen in /proc, but in that of a process that starts with it.
    with subprocess.Popen(["sleep", "600"], env={VARIABLE: secret}) as bystander:
        yield Surroundings(canary, secret)
        bystander.kill()


def descendants() -> set[int]:
    parents = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found, fresh = set(), {os.getpid()}
    while fresh:
        found |= fresh
        fresh = {pid for pid, parent in parents.items() if parent in fresh}
    return found


@contextlib.contextmanager
def adopting() -> Iterator[set[int]]:
    """Collect the processes that outlive what happens here: they become children of this one."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before, left = descendants(), set[int]()
    yield left
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (others := descendants() - before) and time.monotonic() < deadline:
        for pid in others:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    left |= others


@pytest.fixture(scope="module")
def isolation() -> Isolation:
    """Find bubblewrap, whatever the environment allows."""
    try:
        return probe._bubblewrap(tuple(bubblewrap.candidates()))
    except SandboxError as error:
        pytest.skip(str(error))


def test_there_are_many() -> None:
    assert len(PROGRAMS) >= 40
    readme = pathlib.Path(__file__).parents[2] / "README.md"
    assert f"{len(PROGRAMS)} hostile programs" in readme.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_does_not_pass_and_does_no_harm(isolation: Isolation, name: str, surroundings: Surroundings) -> None:
    with adopting() as left:
        outcome = surroundings.run(isolation, name)
    assert outcome.rule in PROGRAMS[name].rules, outcome
    assert not outcome.passed
    assert surroundings.harm(outcome) == []
    assert left == set()


@pytest.mark.parametrize(
    "name",
    ["overwriting a file of ours", "a file of ours", "secrets in environments under /proc"],
)
def test_without_a_sandbox_the_harm_is_noticed(name: str, surroundings: Surroundings) -> None:
    assert surroundings.harm(surroundings.run(UNSAFE, name)) != []


def test_an_environment_that_is_handed_over_is_noticed(
    isolation: Isolation, surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "ENVIRONMENT", dict(os.environ))
    for name in ("secrets in the environment", "secrets in memory by getenv"):
        assert surroundings.harm(surroundings.run(isolation, name)) != []


def test_without_a_sandbox_the_process_left_behind_is_noticed(
    surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "PATIENCE_SECONDS", 0.5)
    with adopting() as left:
        surroundings.run(UNSAFE, "a daemon that leaves its session")
    assert left != set()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


@pytest.mark.parametrize(
    "name",
    [
        "an object that is equal to everything",
        "a text that is equal to everything",
        "a number that is equal to everything",
        "a list that holds an object that is equal to everything",
        "frames of the caller",
        "every object there is",
    ],
)
def test_it_passes_where_expected_values_are_inside(name: str, isolation: Isolation) -> None:
    check = f"EXPECTED = [['token-{secrets.token_hex(16)}']]\ndef check():\n    assert answer('a') == EXPECTED[0][0]"
    if "a list" in name:
        check = "def check():\n    assert answer('a') == [3]"
    calls = CallTests(targets={"check": "check"}, tests="check()")
    assert sandbox.run_calls(isolation, [PROGRAMS[name].program, check], calls).passed
