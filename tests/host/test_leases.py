"""Two runs never measure on one NPU: the second waits, and says so; a dead one holds nothing."""

import contextlib
import errno
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pytest_quantguard import devices
from quantguard.errors import LeaseError
from quantguard.host.leases import Leases, Resource, folder, npu, read_holder
from tests.support.fake_npus import Machine

# For machines that have much else to do; each test may use it once.
_PATIENCE_SECONDS = 120
pytestmark = pytest.mark.timeout(2 * _PATIENCE_SECONDS)
# It holds its NPU until it is told to end.
HOLDER = """
import pathlib, time
def test_hold(npu_device):
    pathlib.Path("holding").touch()
    while not pathlib.Path("end").exists():
        time.sleep(0.05)
"""
SECOND = """
def test_measure(npu_device):
    pass
"""


@pytest.fixture(autouse=True)
def machine(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path_factory.mktemp("machine"), monkeypatch)


@pytest.fixture
def holder(tmp_path: pathlib.Path) -> Iterator["subprocess.Popen[str]"]:
    """Start a pytest run that holds NPU 0 until there is a file ``end`` beside its test."""
    process = start(tmp_path, HOLDER)
    wait_for((tmp_path / "holding").exists, process)
    yield process
    (tmp_path / "end").touch()
    process.kill()
    process.wait()


def start(folder: pathlib.Path, test: str, *options: str) -> "subprocess.Popen[str]":
    folder.mkdir(exist_ok=True)
    (folder / "test_npu.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "--npu", "-p", "no:cacheprovider", *options, "test_npu.py"]
    with (folder / "shown").open("w") as stream:
        return subprocess.Popen(command, cwd=folder, text=True, stdout=stream, stderr=subprocess.STDOUT)


def shown_by(folder: pathlib.Path, process: "subprocess.Popen[str]") -> str:
    """Wait for a run to end and return what it printed."""
    process.wait(timeout=_PATIENCE_SECONDS)
    return (folder / "shown").read_text()


def wait_until_it_waits(folder: pathlib.Path, process: "subprocess.Popen[str]") -> None:
    wait_for(lambda: "waiting for it" in (folder / "shown").read_text(), process)


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def leases(*, wait_seconds: float = 0, run: str | None = None, said: list[str] | None = None) -> Leases:
    announce = (said if said is not None else []).append
    return Leases(command="pytest --npu", run=run, wait_seconds=wait_seconds, announce=announce)


def test_the_second_run_waits_and_says_so_once(holder: "subprocess.Popen[str]", tmp_path: pathlib.Path) -> None:
    second = start(tmp_path / "second", SECOND)
    wait_until_it_waits(tmp_path / "second", second)
    time.sleep(1)
    assert second.poll() is None
    (tmp_path / "end").touch()
    shown = shown_by(tmp_path / "second", second)
    assert second.returncode == 0, shown
    waits = re.findall(r"quantguard: NPU 0 is held by process (\d+) \((.*)\) since .*; waiting for it", shown)
    assert len(waits) == 1
    assert waits[0][0] == str(holder.pid)
    assert "--npu" in waits[0][1]


def test_a_worker_of_the_second_run_waits_and_says_so(tmp_path: pathlib.Path, holder: "subprocess.Popen[str]") -> None:
    second = start(tmp_path / "second", SECOND, "-n", "1")
    wait_until_it_waits(tmp_path / "second", second)
    (tmp_path / "end").touch()
    shown = shown_by(tmp_path / "second", second)
    assert second.returncode == 0, shown
    assert shown.count(f"NPU 0 is held by process {holder.pid}") == 1


def test_the_second_run_gives_up_naming_the_holder(tmp_path: pathlib.Path, holder: "subprocess.Popen[str]") -> None:
    second = start(tmp_path / "second", SECOND, "--quantguard-wait=1")
    shown = shown_by(tmp_path / "second", second)
    assert second.returncode == pytest.ExitCode.TESTS_FAILED
    assert f"ERROR: NPU 0 is still held by process {holder.pid} (" in shown
    assert "--quantguard-wait=SECONDS" in shown
    assert "Traceback" not in shown


@pytest.mark.usefixtures("holder")
def test_runs_on_different_npus_do_not_wait(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "1")
    shown = shown_by(tmp_path / "second", start(tmp_path / "second", SECOND, "--quantguard-wait=1"))
    assert "1 passed" in shown
    assert "waiting" not in shown


@pytest.mark.usefixtures("holder")
def test_a_run_that_only_looks_for_npus_computes_on_none_that_is_held(tmp_path: pathlib.Path, machine: Machine) -> None:
    machine.have(1)
    machine.break_computing()
    shown = shown_by(tmp_path / "second", start(tmp_path / "second", "def test_other(): pass"))
    assert "1 passed" in shown


def test_a_crashed_holder_does_not_block(tmp_path: pathlib.Path, holder: "subprocess.Popen[str]") -> None:
    assert read_holder(npu(0)) is not None
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (folder() / "npu-0.json").exists()
    assert read_holder(npu(0)) is None
    shown = shown_by(tmp_path / "second", start(tmp_path / "second", SECOND, "--quantguard-wait=1"))
    assert "1 passed" in shown
    assert "waiting" not in shown


def test_the_end_of_a_run_gives_its_npus_back(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "require", lambda _config: None)
    pytester.makepyfile(HOLDS)
    pytester.runpytest_inprocess("--npu").assert_outcomes(passed=1)
    assert read_holder(npu(0)) is None
    assert leases().try_hold(npu(0))


def test_a_lease_that_is_not_given_back_is_noticed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "require", lambda _config: None)
    kept: list[Leases] = []

    def forget(held: Leases) -> None:
        kept.append(held)

    with monkeypatch.context() as planted:
        planted.setattr(Leases, "release", forget)
        pytester.makepyfile(HOLDS)
        pytester.runpytest_inprocess("--npu").assert_outcomes(passed=1)
    with pytest.raises(AssertionError):
        assert leases().try_hold(npu(0))
    kept[0].release()
    assert leases().try_hold(npu(0))


# The NPU that an in-process run leases, without the rest of the fixture.
HOLDS = """
from pytest_quantguard import devices
from quantguard.host.leases import npu, read_holder

def test_it(request):
    devices.hold(request.config, "npu")
    devices.hold(request.config, "npu:0")
    devices.hold(request.config, "cpu")
    assert read_holder(npu(0)).pid
"""


def test_a_lease_keeps_every_other_out_until_it_is_given_back() -> None:
    first, second = leases(), leases()
    first.hold(npu(0))
    first.hold(npu(0))
    assert not second.try_hold(npu(0))
    assert second.try_hold(npu(1))
    with pytest.raises(LeaseError, match=rf"NPU 0 is still held by process {os.getpid()} \(pytest --npu\)"):
        second.hold(npu(0))
    first.release()
    second.hold(npu(0))
    second.release()


def test_the_files_of_the_leases_are_the_users_alone(tmp_path: pathlib.Path) -> None:
    del tmp_path
    assert folder().parent == pathlib.Path(os.environ["XDG_RUNTIME_DIR"])
    assert folder().stat().st_uid == os.getuid()


def test_a_damaged_card_names_nobody() -> None:
    first, said = leases(), list[str]()
    first.hold(npu(0))
    (folder() / "npu-0.json").write_text("{")
    with pytest.raises(LeaseError, match="still held by another process"):
        leases(said=said).hold(npu(0))
    assert said == ["NPU 0 is held by another process; waiting for it, at most 0 s"]
    first.release()


def test_two_workers_of_one_run_on_one_npu_are_an_error_at_once() -> None:
    first, said = leases(run="a"), list[str]()
    first.hold(npu(0))
    with pytest.raises(LeaseError, match="two workers would measure on one NPU"):
        leases(run="a", wait_seconds=3600, said=said).hold(npu(0))
    assert said == []
    first.release()


class SignsLate(Leases):
    """A holder that is held up between taking the lock and signing for it, until ``sign`` is set."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(wait_seconds=0, command="pytest --npu", announce=print, **settings)
        self.taken, self.sign = threading.Event(), threading.Event()

    def _record_holder(self, resource: Resource) -> None:
        self.taken.set()
        assert self.sign.wait(_PATIENCE_SECONDS)
        super()._record_holder(resource)


@contextlib.contextmanager
def signing_late(run: str) -> Iterator[SignsLate]:
    """Have somebody hold NPU 0 who has not signed for it."""
    holder = SignsLate(run=run)
    holding = threading.Thread(target=holder.hold, args=[npu(0)])
    holding.start()
    assert holder.taken.wait(_PATIENCE_SECONDS)
    yield holder
    holder.sign.set()
    holding.join()
    holder.release()


@pytest.mark.timeout(30, func_only=True)
def test_a_worker_that_looks_before_the_other_has_signed_looks_again() -> None:
    said: list[str] = []
    with signing_late("a") as first:
        threading.Timer(0.5, first.sign.set).start()
        with pytest.raises(LeaseError, match="two workers would measure on one NPU"):
            leases(run="a", wait_seconds=3600, said=said).hold(npu(0))
    assert said == []


@pytest.mark.timeout(30, func_only=True)
def test_a_worker_of_this_run_that_comes_first_ends_the_waiting() -> None:
    other, mine = leases(run="b"), leases(run="a")
    other.hold(npu(0))

    def change_hands() -> None:
        other.release()
        while not mine.try_hold(npu(0)):
            time.sleep(0.01)

    threading.Timer(0.5, change_hands).start()
    waiting, said = leases(run="a", wait_seconds=3600), list[str]()
    with contextlib.suppress(LeaseError):
        waiting.hold(npu(0))
    # Whoever was first has it, and nobody has waited for one of its own run.
    waiting.release()
    mine.release()
    assert said == []


@pytest.mark.timeout(30, func_only=True)
def test_the_card_of_a_worker_that_crashed_is_not_believed_for_the_next_holder() -> None:
    crashed = leases(run="a")
    crashed.hold(npu(0))
    card = (folder() / "npu-0.json").read_text()
    crashed.release()
    (folder() / "npu-0.json").write_text(card)
    said: list[str] = []
    with signing_late("b") as holder:
        threading.Timer(0.1, holder.sign.set).start()
        with pytest.raises(LeaseError, match="is still held by"):
            leases(run="a", wait_seconds=1, said=said).hold(npu(0))
    assert len(said) == 1


def test_a_card_that_cannot_be_written_is_an_error_that_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(path: pathlib.Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path), text)

    with monkeypatch.context() as planted:
        planted.setattr("quantguard.host.leases.write_whole", full_disk)
        with pytest.raises(LeaseError, match=r"NPU 0 cannot be leased: .*No space left.*XDG_RUNTIME_DIR names another"):
            leases().hold(npu(0))
    assert leases().try_hold(npu(0))


HOLDS_UNTIL_ANOTHER_FAILED = """
import pathlib, time
def test_it(npu_device):
    while not pathlib.Path("failed").exists():
        time.sleep(0.05)
"""


@pytest.mark.parametrize("seconds_to_sign", [0, 1], ids=["signed", "before it signs"])
def test_workers_that_were_given_one_npu_between_them_fail(pytester: pytest.Pytester, seconds_to_sign: int) -> None:
    pytester.makeconftest(
        f"""
        import pathlib
        import time
        from quantguard.host import leases

        sign = leases.Leases._record_holder
        def sign_late(held, resource):
            time.sleep({seconds_to_sign})
            sign(held, resource)
        leases.Leases._record_holder = sign_late
        import pytest

        @pytest.hookimpl(trylast=True, optionalhook=True)
        def pytest_xdist_setupnodes(specs):
            for spec in specs:
                spec.env["ASCEND_RT_VISIBLE_DEVICES"] = "0"

        def pytest_runtest_logreport(report):
            if report.failed:
                pathlib.Path("failed").touch()
        """
    )
    pytester.makepyfile(HOLDS_UNTIL_ANOTHER_FAILED)
    result = pytester.runpytest_subprocess("--npu", "-n", "2", "--dist=each")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*held by another worker of this run*two workers would measure on one NPU*"])


def test_a_check_on_an_npu_leases_it_without_the_fixture(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(
        "import quantguard\n\n@quantguard.memory(max_ratio=0.9)\n"
        "def test_release(guard):\n    guard.check('tiny-reasoner', recipe='w8a8', device='npu:1')\n"
    )
    held: list[str] = []
    monkeypatch.setattr(devices, "hold", lambda _config, device: held.append(device))
    pytester.runpytest_inprocess("--quantguard").assert_outcomes(failed=1)
    assert held == ["npu:1"]
