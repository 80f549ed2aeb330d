"""Programs that want to pass, to look, to break out or to do harm: none passes, and none does."""

import contextlib
import ctypes
import os
import pathlib
import re
import secrets
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from quantguard import sandbox
from quantguard.errors import SandboxError
from quantguard.sandbox import Calls, Isolation, Limits, Outcome

VARIABLE = "QUANTGUARD_TEST_SECRET"
PR_SET_CHILD_SUBREAPER = 36


class Hostile(NamedTuple):
    program: str
    kind: str
    rules: list[str]

    @property
    def limits(self) -> Limits:
        """Long ones, for a busy machine, except for what uses up any."""
        return Limits(
            cpu_seconds=1 if "time-limit" in self.rules else 10,
            wall_seconds=2.0 if self.rules == ["time-limit"] else 60.0,
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

    def run(self, isolation: Isolation, name: str) -> Outcome:
        hostile, limits = PROGRAMS[name], PROGRAMS[name].limits
        program = hostile.program.replace("CANARY", str(self.canary)).replace("SECRET", VARIABLE)
        token = f"token-{secrets.token_hex(16)}"
        if hostile.kind == "input":
            return sandbox.run_inputs(isolation, [program], [("3\n", token)], limits=limits)
        tests = f"assert answer('a') == {token!r}\nassert answer('b') != answer('a')"
        return sandbox.run_calls(isolation, [program], Calls(targets={"answer": "answer"}, tests=tests), limits=limits)

    def harm(self, outcome: Outcome) -> list[str]:
        """Say what a program saw or changed."""
        harm = []
        if self.secret in outcome.detail or "seen" in outcome.detail:
            harm.append(f"it saw what it should not: {outcome.detail}")
        if self.canary.read_text() != "untouched":
            harm.append("it changed a file")
        return harm


@pytest.fixture
def surroundings(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Surroundings:
    canary, secret = tmp_path / "canary", secrets.token_hex()
    canary.write_text("untouched")
    tmp_path.chmod(0o755)
    canary.chmod(0o666)
    monkeypatch.setenv(VARIABLE, secret)
    return Surroundings(canary, secret)


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


@pytest.fixture
def left_behind() -> Iterator[set[int]]:
    """Collect the processes that outlive what they are part of: they become children of this one."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before, left = descendants(), set[int]()
    yield left
    deadline = time.monotonic() + 20
    while (others := descendants() - before) and time.monotonic() < deadline:
        for pid in others:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    assert others == set()


def confined() -> Isolation:
    try:
        chosen = sandbox.isolation()
    except SandboxError as error:
        pytest.skip(str(error))
    assert chosen.bwrap is not None
    return chosen


@pytest.fixture(scope="module")
def isolation() -> Isolation:
    return confined()


def test_there_are_many() -> None:
    assert len(PROGRAMS) >= 40


@pytest.mark.usefixtures("left_behind")
@pytest.mark.parametrize("name", PROGRAMS)
def test_it_does_not_pass_and_does_no_harm(isolation: Isolation, name: str, surroundings: Surroundings) -> None:
    outcome = surroundings.run(isolation, name)
    assert outcome.rule in PROGRAMS[name].rules, outcome
    assert not outcome.passed
    assert surroundings.harm(outcome) == []
