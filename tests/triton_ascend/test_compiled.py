"""Second and third stage: every form compiled for Ascend 910B up to HIVM IR, and its IR run on the host."""

import importlib
from typing import Any

import pytest
import torch

from quantguard.errors import KernelError, QuantguardError
from quantguard.kernels import resolve
from tests.support import ascend_compiler, host_execution, triton_agreement, triton_faults
from tests.support.triton_environment import needs, poison_empty_memory  # noqa: F401 - fixtures

NEEDS = "compiler"
PACKAGE = "quantguard.kernels.triton"
COMPLAINTS = {
    "the cast does not saturate": "ub overflow",
    "a tile is too big for the unified buffer": "ub overflow",
    "a tile fits only without multi-buffering": "compiled again without multi-buffering",
    "scales are gathered number by number": "a scalar loop over the unified buffer",
}
WRONG_RESULTS = (
    "the weight scale runs along the tokens",
    "the cast does not saturate",
    "the group's index is off by one",
    "a rotation drops the low half of its half-way product",
)


def forms() -> list[Any]:
    """List the table; empty where Triton-Ascend is not installed, and then the tests below say so."""
    try:
        resolve("int8_linear", "triton")
    except QuantguardError:
        return []
    table = importlib.import_module(f"{PACKAGE}.forms")
    return [form for kernel in table.KERNELS for form in kernel.forms()]


@pytest.fixture
def on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module(f"{PACKAGE}.launch"), "run", host_execution.run)


def planted_complaints(package: str, kernel_name: str) -> list[str]:
    kernels = triton_faults.load(package, "forms").KERNELS
    (kernel,) = (kernel for kernel in kernels if kernel.name == kernel_name)
    complaints: list[str] = []
    for tile in kernel.tiles:
        form = kernel.form("bf16", tile, **dict.fromkeys(kernel.switches, 1))
        linalg = ascend_compiler.lower(getattr(triton_faults.load(package, form.op), form.kernel), form)
        complaints += ascend_compiler.compile_ir(linalg, ascend_compiler.TARGETS[0]).complaints()
    return complaints


def test_the_table_has_forms() -> None:
    assert len(forms()) > 100


@pytest.mark.parametrize("form", forms(), ids=str)
def test_the_form_compiles_for_both_ascend_910b(form: Any) -> None:
    linalg = ascend_compiler.lower(getattr(triton_faults.load(PACKAGE, form.op), form.kernel), form)
    for target in ascend_compiler.TARGETS:
        compiled = ascend_compiler.compile_ir(linalg, target)
        assert compiled.complaints() == []
        assert all(peak <= ascend_compiler.CAPACITY[memory] for memory, peak in compiled.peaks().items())
        print(form, target, compiled.peaks())


@pytest.mark.parametrize("fault", COMPLAINTS)
def test_the_compile_checks_catch(
    fault: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = triton_faults.plant(triton_faults.FAULTS[fault], tmp_path_factory.mktemp("fault"), monkeypatch)
    complaints = planted_complaints(package, triton_faults.FAULTS[fault].kernel)
    assert any(COMPLAINTS[fault] in complaint for complaint in complaints), complaints


def test_the_link_check_catches_a_function_that_no_library_has() -> None:
    form = forms()[0]
    linalg = ascend_compiler.lower(getattr(triton_faults.load(PACKAGE, form.op), form.kernel), form)
    compiled = ascend_compiler.compile_ir(linalg, ascend_compiler.TARGETS[0])
    assert compiled.ir is not None
    renamed = ascend_compiler.Compiled(ir=compiled.ir.replace("vabs_1d_float", "vabs_9d_float"), log="")
    assert renamed.complaints() == ["no library function vabs_9d_float"]


def test_what_does_not_compile_is_no_success() -> None:
    assert "does not compile" in ascend_compiler.compile_ir("module {", ascend_compiler.TARGETS[0]).complaints()[0]


@pytest.mark.usefixtures("on_the_host")
@pytest.mark.parametrize("dtype", triton_agreement.DTYPES, ids=str)
@pytest.mark.parametrize("op", triton_agreement.CHECKS)
def test_the_compiled_kernel_agrees_with_the_reference_on_the_host(op: str, dtype: torch.dtype) -> None:
    triton_agreement.CHECKS[op](resolve(op, "triton"), dtype)


@pytest.mark.usefixtures("on_the_host")
@pytest.mark.parametrize("fault", WRONG_RESULTS)
def test_running_on_the_host_catches(
    fault: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = triton_faults.FAULTS[fault]
    package = triton_faults.plant(planted, tmp_path_factory.mktemp("fault"), monkeypatch)
    with pytest.raises(AssertionError):
        triton_agreement.CHECKS[planted.op](triton_faults.load(package, planted.op), torch.bfloat16)


def test_without_npu_and_interpreter_a_kernel_raises_with_what_to_type() -> None:
    with pytest.raises(KernelError, match="set TRITON_INTERPRET=1"):
        resolve("quantize_per_token", "triton").apply(torch.ones(1, 8), args=triton_agreement.tokenwise())
