"""First stage: every kernel in Triton's interpreter, against the reference."""

import importlib

import pytest
import torch

from quantguard.errors import KernelError
from quantguard.kernels import resolve
from quantguard.modeling.quant_linear import QuantLinear
from quantguard.numerics import KVQuantizer, QuantTensor
from quantguard.records import QuantArgs
from quantguard.rounding import nearest
from tests.support import triton_agreement, triton_faults
from tests.support.triton_environment import needs, poison_empty_memory  # noqa: F401 - fixtures

NEEDS = "interpreter"
CAUGHT = (
    "the weight scale runs along the tokens",
    "the cast does not saturate",
    "the group's index is off by one",
    "a rotation drops the low half of its half-way product",
)


@pytest.mark.parametrize("dtype", triton_agreement.DTYPES, ids=str)
@pytest.mark.parametrize("op", triton_agreement.CHECKS)
def test_the_kernel_agrees_with_the_reference(op: str, dtype: torch.dtype) -> None:
    triton_agreement.CHECKS[op](resolve(op, "triton"), dtype)


def test_every_op_of_the_backend_is_checked() -> None:
    contracts = {path.stem for path in triton_faults.FOLDER.parent.glob("*.py")}
    assert {path.stem for path in triton_faults.FOLDER.glob("*.py")} & contracts - {"__init__"} == set(
        triton_agreement.CHECKS
    )


@pytest.mark.parametrize("fault", CAUGHT)
def test_the_interpreter_catches(
    fault: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = triton_faults.FAULTS[fault]
    package = triton_faults.plant(planted, tmp_path_factory.mktemp("fault"), monkeypatch)
    with pytest.raises(AssertionError):
        triton_agreement.CHECKS[planted.op](triton_faults.load(package, planted.op), torch.bfloat16)


def test_a_copy_without_a_fault_agrees(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_fault = triton_faults.Fault(
        file="int8_linear", old="* b_w_scale[None, :]", new="* b_w_scale[None, :] ", op="", kernel=""
    )
    package = triton_faults.plant(no_fault, tmp_path_factory.mktemp("copy"), monkeypatch)
    triton_agreement.check_int8_linear(triton_faults.load(package, "int8_linear"), torch.bfloat16)


@pytest.mark.parametrize("dtype", triton_agreement.DTYPES, ids=str)
@pytest.mark.parametrize("width", [8, 9000])
def test_a_nan_is_not_lost(dtype: torch.dtype, width: int) -> None:
    x = torch.ones(2, width, dtype=dtype)
    x[1, width - 3] = float("nan")
    _, scale = resolve("quantize_per_token", "triton").apply(x, args=triton_agreement.tokenwise())
    assert scale.isnan().flatten().tolist() == [False, True]


def test_a_nan_is_not_lost_in_the_cache_or_by_a_rotation() -> None:
    x = torch.ones(1, 1, 2, 64, dtype=torch.bfloat16)
    x[0, 0, 1, 7] = float("nan")
    for symmetric in (True, False):
        stored = resolve("kv_cache", "triton").store(
            x, KVQuantizer(args=triton_agreement.tokenwise(symmetric=symmetric))
        )
        assert stored["scale"].isnan().flatten().tolist() == [False, True]
    _, scale = resolve("rotate_quantize_per_token", "triton").apply(
        x[0, 0], None, torch.eye(16), args=triton_agreement.tokenwise()
    )
    assert scale.isnan().flatten().tolist() == [False, True]


@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
@pytest.mark.parametrize(("num_bits", "group_size"), [(8, None), (4, None), (4, 32)], ids=["w8", "w4", "w4 in groups"])
def test_a_layer_on_triton_gives_the_bits_of_the_reference(
    num_bits: int, group_size: int | None, *, static: bool
) -> None:
    args = QuantArgs(num_bits=num_bits, strategy="group" if group_size else "channel", group_size=group_size)
    weight = nearest.quantize_weight(triton_agreement.draw(63, 100), args, stats=None, options={})
    assert isinstance(weight, QuantTensor)
    activations = QuantArgs(num_bits=8, strategy="tensor") if static else triton_agreement.tokenwise()
    triton, reference = (
        QuantLinear(
            weight,
            triton_agreement.draw(63),
            input_activations=activations,
            backend=backend,
            device_type="cpu",
            input_scale=torch.tensor([[0.21]]) if static else None,
        )
        for backend in ("triton", "reference")
    )
    x = triton_agreement.draw(2, 5, 100, dtype=torch.bfloat16)
    assert set(triton.kernels.values()) == {"triton"}
    assert torch.equal(triton(x), reference(x))


@pytest.mark.parametrize("op", ["quantize_per_token", "quantize_per_tensor"])
def test_no_tokens_give_no_integers(op: str) -> None:
    fixed = () if op == "quantize_per_token" else (torch.ones(1, 1),)
    args = triton_agreement.tokenwise() if op == "quantize_per_token" else QuantArgs(num_bits=8, strategy="tensor")
    q, scale = resolve(op, "triton").apply(torch.ones(0, 8), *fixed, args=args)
    assert (q.shape, scale.shape) == ((0, 8), (0, 1))


def test_a_tensor_that_int32_cannot_count_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = resolve("quantize_per_token", "triton")
    monkeypatch.setattr(importlib.import_module("quantguard.kernels.triton.launch"), "LARGEST_TENSOR", 64)
    with pytest.raises(KernelError, match="counts in int32"):
        module.apply(torch.ones(8, 8), args=triton_agreement.tokenwise())


@pytest.mark.parametrize(
    ("op", "call", "complaint"),
    [
        pytest.param(
            "rotate_quantize_per_token",
            lambda m: m.apply(
                torch.ones(1, 256 * 64), torch.eye(256), torch.eye(64), args=triton_agreement.tokenwise()
            ),
            "takes bfloat16 and float16",
            id="a rotation of float32",
        ),
        pytest.param(
            "rotate_quantize_per_token",
            lambda m: m.apply(
                torch.ones(1, 256 * 64).half(), torch.eye(256), torch.eye(64), args=triton_agreement.tokenwise()
            ),
            "up to 128 x 64",
            id="a rotation too large",
        ),
        pytest.param(
            "kv_cache",
            lambda m: m.store(torch.ones(1, 1, 1, 8), KVQuantizer(args=triton_agreement.tokenwise(4))),
            "stores 8 bits, not 4",
            id="a cache of 4 bits",
        ),
        pytest.param(
            "quantize_per_token",
            lambda m: m.apply(torch.ones(1, 8).double(), args=triton_agreement.tokenwise()),
            "takes float32, bfloat16 and float16",
            id="float64",
        ),
    ],
)
def test_what_no_kernel_takes_raises(op: str, call: "object", complaint: str) -> None:
    assert callable(call)
    with pytest.raises(KernelError, match=complaint):
        call(resolve(op, "triton"))


def test_weights_that_no_kernel_takes_are_refused_with_the_reason() -> None:
    odd = QuantArgs(num_bits=4, strategy="group", group_size=48)
    assert "multiple of 32" in str(resolve("int4_linear", "triton").unsupported(odd))


def test_a_cache_that_triton_wrote_is_read_by_the_quantizer_of_the_reference() -> None:
    args = triton_agreement.tokenwise(symmetric=False)
    x = triton_agreement.draw(2, 2, 5, 64)
    stored = resolve("kv_cache", "triton").store(x, KVQuantizer(args=args))
    assert torch.equal(KVQuantizer(args=args).restore(stored), KVQuantizer(args=args).round_trip(x))
