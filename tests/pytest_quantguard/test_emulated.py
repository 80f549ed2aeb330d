"""The gates on an emulated Atlas A2: what runs, how it is labelled, and that it is compared with nothing else."""

import json
import pathlib

import pytest

import quantguard
from quantguard.errors import KernelError
from tests.support.gate_runs import assert_error, copy_baselines, run

GATE = """
import quantguard

@quantguard.accuracy(tol=0.1, subset=60)
@quantguard.memory(max_ratio=0.8)
def test_release(guard, npu_device):
    guard.check("tiny-reasoner", recipe={recipe!r}, device=npu_device, backend="ascend")
"""
STATIC = """
rounding = "nearest"
[weights]
num_bits = 8
strategy = "channel"
[input_activations]
num_bits = 8
strategy = "tensor"
[calibration]
dataset = "worked-problems"
num_samples = 4
max_length = 64
"""
WEIGHT_ONLY = """
rounding = "nearest"
[weights]
num_bits = 4
strategy = "group"
group_size = 128
symmetric = false
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
    assert stored["fingerprint"]["runtime"]["dtype"] == "bfloat16"
    judged = run(pytester, "--npu=emulated", "--quantguard-report=report")
    judged.assert_outcomes(passed=1)
    judged.stdout.fnmatch_lines(["*PASS*accuracy*(emulated-910b)*", "*PASS*memory*(emulated-910b)*"])
    judged.stdout.no_fnmatch_line("*910B*")
    reports = "".join(file.read_text() for file in (pytester.path / "report").rglob("*.json"))
    assert '"int8_linear": "ascend (28 layers)"' in reports


@pytest.mark.parametrize(
    ("recipe", "ops"),
    [
        pytest.param("w4a8", {"int4_linear", "quantize_per_token"}, id="W4A8"),
        pytest.param("static.toml", {"static_int8_linear", "quantize_per_tensor"}, id="W8A8 with fixed scales"),
        pytest.param("gptq-w4a16.toml", {"weight_only_linear"}, id="W4A16 in groups"),
    ],
)
def test_a_model_answers_on_the_emulated_device(recipe: str, ops: set[str], tmp_path: pathlib.Path) -> None:
    (tmp_path / "static.toml").write_text(STATIC)
    (tmp_path / "gptq-w4a16.toml").write_text(WEIGHT_ONLY)
    model = quantguard.load("tiny-reasoner", device="emulated-910b")
    named = tmp_path / recipe if recipe.endswith(".toml") else recipe
    quantized = quantguard.quantize(model, recipe=named, backend="ascend")
    record = quantguard.evaluate(quantized, subset=4, max_new_tokens=24)
    assert record.platform == "emulated-910b"
    assert set(record.kernels) == ops
    assert set(record.kernels.values()) == {"ascend (28 layers)"}


def test_float32_is_refused_with_what_to_type() -> None:
    model = quantguard.load("tiny-reasoner", device="emulated-910b", dtype="float32")
    quantized = quantguard.quantize(model, recipe="w8a8", backend="ascend")
    with pytest.raises(KernelError, match=r"found activations of float32.*dtype='bfloat16'"):
        quantguard.evaluate(quantized, subset=1, max_new_tokens=1)


def test_the_ascend_backend_does_not_run_on_a_cpu() -> None:
    with pytest.raises(KernelError, match="it runs on npu or emulated-910b"):
        quantguard.quantize("tiny-reasoner", recipe="w8a8", backend="ascend")


def test_a_quantized_folder_is_read_onto_the_emulated_device(tmp_path: pathlib.Path) -> None:
    quantguard.quantize_to_folder("tiny-reasoner", "w8a8", tmp_path / "out", device="emulated-910b", backend="ascend")
    model = quantguard.load(tmp_path / "out", device="emulated-910b")
    assert model.device_type == "emulated-910b"
    record = quantguard.evaluate(model, subset=2, max_new_tokens=8)
    assert record.kernels["int8_linear"] == "ascend (28 layers)"


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
