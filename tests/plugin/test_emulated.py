"""The gates on an emulated Atlas A2: what runs, how it is labelled, and that it is compared with nothing else."""

import json

import pytest
from gatelab import assert_error, copy_baselines, run

GATE = """
import quantguard

@quantguard.accuracy(tol=0.1, subset=60)
@quantguard.memory(max_ratio=0.8)
def test_release(guard, npu_device):
    guard.check("tiny-reasoner", recipe={recipe!r}, device=npu_device, backend="ascend")
"""


def write_gate(pytester: pytest.Pytester, recipe: str = "w8a8") -> None:
    pytester.makepyfile(test_release=GATE.format(recipe=recipe))


@pytest.fixture
def _outside_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)


@pytest.mark.usefixtures("_outside_ci")
def test_a_gate_runs_on_the_emulated_device_and_its_baseline_is_labelled_so(pytester: pytest.Pytester) -> None:
    write_gate(pytester)
    measured = run(pytester, "--npu=emulated", "--quantguard-update=new")
    measured.stdout.fnmatch_lines(["*MEASURED*(emulated-910b)*", "*baseline written: *emulated-910b*"])
    path = pytester.path / "baselines/emulated-910b/tiny-reasoner/w8a8/word-problems.json"
    stored = json.loads(path.read_text())
    assert stored["platform"] == "emulated-910b"
    assert stored["must_match"]["dtype"] == "bfloat16"
    judged = run(pytester, "--npu=emulated", "--quantguard-report=report")
    judged.assert_outcomes(passed=1)
    judged.stdout.fnmatch_lines(["*PASS*accuracy*(emulated-910b)*", "*PASS*memory*(emulated-910b)*"])
    judged.stdout.no_fnmatch_line("*910B*")
    reports = "".join(file.read_text() for file in (pytester.path / "report").rglob("*.json"))
    assert '"int8_linear": "ascend (28 layers)"' in reports


def test_a_baseline_of_the_cpu_is_not_compared_with_the_emulation(pytester: pytest.Pytester) -> None:
    write_gate(pytester)
    copy_baselines(pytester)
    measured = pytester.path / "baselines/cpu/tiny-reasoner/w8a8/word-problems.json"
    target = pytester.path / "baselines/emulated-910b/tiny-reasoner/w8a8"
    target.mkdir(parents=True, exist_ok=True)
    (target / "word-problems.json").write_text(measured.read_text())
    assert_error(pytester, run(pytester, "--npu=emulated"), "*is foreign: it is for platform 'cpu'*")


def test_a_latency_gate_does_not_time_the_emulation(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_release="""
        import quantguard

        @quantguard.latency(min_speedup=1.1)
        def test_release(guard, npu_device):
            guard.check("tiny-reasoner", recipe="w8a8", device=npu_device)
        """
    )
    assert_error(pytester, run(pytester, "--npu=emulated"), "*would time the emulation*")


def test_a_gate_that_leaves_npu_device_aside_does_not_count_as_run_on_an_npu(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_release="""
        import quantguard

        @quantguard.memory(max_ratio=0.8)
        def test_release(guard):
            guard.check("tiny-reasoner", recipe="w8a8")
        """
    )
    result = run(pytester, "--npu=emulated")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["*no gate ran on an NPU*"])
