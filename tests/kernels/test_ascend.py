"""The ascend backend on the emulated device agrees with the contracts, and what the vendor lets pass is refused."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from quantguard.errors import KernelError
from quantguard.kernels import choose_backend, resolve
from quantguard.kernels.ascend import emulate, vendor
from quantguard.kernels.ascend.emulation import KERNELS, activations, matmul
from quantguard.kernels.ascend.emulation.packing import pack_int32, unpack_int32
from quantguard.kernels.ascend.schemas import PASSED, SCHEMAS, arguments, lacking
from quantguard.kernels.int8_linear import Buffers
from quantguard.numerics import QuantTensor, dequantize
from quantguard.numerics.quant_param import decode_quant_param, encode_quant_param, truncate_scale
from quantguard.records import QuantArgs
from quantguard.rounding import nearest
from tests.support.vendor_calls import ACCEPTED_BY_THE_VENDOR, good

SIZES = (1, 63, 123)
SHAPES = [*itertools.product(SIZES, (1, 63, 256), SIZES), (3, 600, 24)]
DTYPES = (torch.float16, torch.bfloat16)
TOKENWISE = QuantArgs(num_bits=8, strategy="token", dynamic=True)
CHANNEL8 = QuantArgs(num_bits=8, strategy="channel")
WEIGHTS = {
    "W8 per channel": CHANNEL8,
    "W4 per channel": QuantArgs(num_bits=4, strategy="channel"),
    "W4 in groups of 256": QuantArgs(num_bits=4, strategy="group", group_size=256),
}
WEIGHT_ONLY = {
    "W8": CHANNEL8,
    "W8, asymmetric": QuantArgs(num_bits=8, strategy="channel", symmetric=False),
    "W4": QuantArgs(num_bits=4, strategy="channel"),
    "W4 in groups of 32": QuantArgs(num_bits=4, strategy="group", group_size=32),
    "W4 in groups of 128, asymmetric": QuantArgs(num_bits=4, strategy="group", group_size=128, symmetric=False),
}


@pytest.fixture(autouse=True)
def _emulated_with_poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    emulate()
    empty = torch.empty

    def poisoned(*args: Any, **kwargs: Any) -> torch.Tensor:
        tensor = empty(*args, **kwargs)
        return tensor.fill_(float("nan") if tensor.is_floating_point() else 77)

    monkeypatch.setattr(torch, "empty", poisoned)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def quantized(weight: torch.Tensor, args: QuantArgs) -> QuantTensor:
    tensor = nearest.quantize_weight(weight, args, stats=None, options={})
    assert isinstance(tensor, QuantTensor)
    return tensor


def assert_near(found: torch.Tensor, expected: torch.Tensor, tolerance: float, magnitude: torch.Tensor) -> None:
    """Compare relative to what was added up: where terms cancel, a result is no more exact than they are."""
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    smallest_step = 2.0**-24 if found.dtype == torch.float16 else 1e-30
    bound = tolerance * magnitude.double().broadcast_to(found.shape) + smallest_step
    assert ((found.double() - expected.double()).abs() <= bound).all()


def assert_linear_agrees(op: str, shape: tuple[int, int, int], dtype: torch.dtype, args: QuantArgs) -> None:
    tokens, width, outputs = shape
    tensor, bias = quantized(normal(outputs, width), args), normal(outputs, seed=1)
    q, x_scale = resolve("quantize_per_token", "reference").apply(normal(tokens, width).to(dtype), args=TOKENWISE)
    reference, candidate = resolve(op, "reference"), resolve(op, "ascend")
    scale = truncate_scale(tensor.scale) if op == "int4_linear" else tensor.scale
    known = QuantTensor(data=tensor.data, scale=scale, zero_point=None, args=args)
    magnitude = (q.float() * x_scale).abs() @ dequantize(known).abs().t() + bias.abs()
    for given in (None, bias):
        settings = {"args": args, "output_dtype": dtype}
        expected = reference.apply(q, x_scale, reference.pack(known), given, **settings)
        found = candidate.apply(q, x_scale, candidate.pack(tensor), given, **settings)
        assert_near(found, expected, candidate.TOLERANCE[dtype], magnitude)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", WEIGHTS)
def test_integer_linears_agree_with_the_contract(name: str, dtype: torch.dtype) -> None:
    args = WEIGHTS[name]
    for shape in SHAPES:
        assert_linear_agrees("int8_linear" if args.num_bits == 8 else "int4_linear", shape, dtype, args)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_an_integer_bias_is_added_to_the_sums(dtype: torch.dtype) -> None:
    tensor, bias = quantized(normal(63, 123), CHANNEL8), torch.arange(-31, 32, dtype=torch.int32) * 1000
    q, x_scale = resolve("quantize_per_token", "reference").apply(normal(5, 123), args=TOKENWISE)
    results = []
    for backend in ("reference", "ascend"):
        body = resolve("int8_linear", backend)
        results.append(body.apply(q, x_scale, body.pack(tensor), bias, args=CHANNEL8, output_dtype=dtype))
    magnitude = results[0].abs() + 1e-3
    assert_near(results[1], results[0], resolve("int8_linear", "ascend").TOLERANCE[dtype], magnitude)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_linears_with_fixed_scales_agree_with_the_contract(dtype: torch.dtype) -> None:
    reference, candidate = resolve("static_int8_linear", "reference"), resolve("static_int8_linear", "ascend")
    for tokens, width, outputs in SHAPES:
        tensor, bias = quantized(normal(outputs, width), CHANNEL8), normal(outputs, seed=1)
        scale = torch.full((1, 1), 0.031)
        fixed = QuantArgs(num_bits=8, strategy="tensor")
        x = normal(tokens, width).to(dtype)
        q, _ = resolve("quantize_per_tensor", "reference").apply(x, scale, args=fixed)
        theirs, _ = resolve("quantize_per_tensor", "ascend").apply(x, scale, args=fixed)
        assert torch.equal(q, theirs)
        for given in (None, bias):
            settings = {"args": CHANNEL8, "output_dtype": dtype}
            expected = reference.apply(q, reference.pack(tensor, scale, given), **settings)
            found = candidate.apply(q, candidate.pack(tensor, scale, given), **settings)
            assert_near(found, expected, candidate.TOLERANCE[dtype], expected.abs())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", WEIGHT_ONLY)
def test_weight_only_linears_agree_with_the_contract(name: str, dtype: torch.dtype) -> None:
    args = WEIGHT_ONLY[name]
    reference, candidate = resolve("weight_only_linear", "reference"), resolve("weight_only_linear", "ascend")
    for tokens, width, outputs in SHAPES:
        weight, bias = normal(outputs, width), normal(outputs, seed=1)
        # A scale below 6e-5 has fewer bits in float16, which is the operation's limit and not looked at here.
        tensor = quantized(weight + 0.1 * weight.sign(), args)
        x = normal(tokens, width).to(dtype)
        magnitude = x.float().abs() @ dequantize(tensor).abs().t() + bias.abs()
        for given in (None, bias):
            expected = reference.apply(x, reference.pack(tensor), given, args=args)
            found = candidate.apply(x, candidate.pack(tensor), given, args=args)
            assert_near(found, expected, candidate.TOLERANCE[dtype], magnitude)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("op", ["quantize_per_token", "quantize_per_token_asymmetric"])
def test_tokens_are_quantized_to_the_same_bits(op: str, dtype: torch.dtype) -> None:
    for tokens, width in itertools.product(SIZES, (2, 63, 256)):
        x, smooth = normal(tokens, width).to(dtype), normal(width, seed=1).abs().to(dtype)
        for given in (None, smooth):
            expected = resolve(op, "reference").apply(x, args=TOKENWISE, smooth=given)
            found = resolve(op, "ascend").apply(x, args=TOKENWISE, smooth=given)
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_an_asymmetric_token_comes_back_within_half_a_step() -> None:
    x = normal(63, 123).bfloat16() + 3
    q, scale, offset = resolve("quantize_per_token_asymmetric", "ascend").apply(x, args=TOKENWISE)
    assert ((((q.float() - offset) * scale) - x.float()).abs() <= 0.5001 * scale).all()


def test_what_does_not_fit_saturates_and_does_not_wrap() -> None:
    x = torch.tensor([[300.0, -300.0, 1.0]], dtype=torch.float16)
    q, _ = resolve("quantize_per_tensor", "ascend").apply(
        x, torch.ones(1, 1), args=QuantArgs(num_bits=8, strategy="tensor")
    )
    assert q.tolist() == [[127, -128, 1]]
    wide = torch.ops.npu.npu_quant_matmul(
        x1=q, x2=torch.tensor([[100], [0], [0]], dtype=torch.int8), scale=torch.ones(1), output_dtype=torch.int8
    )
    assert wide.tolist() == [[127]]


def test_a_row_of_zeros_stays_zero() -> None:
    q, scale = resolve("quantize_per_token", "ascend").apply(torch.zeros(2, 8).half(), args=TOKENWISE)
    assert q.count_nonzero() == 0
    assert scale.tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rotations_agree_alone_and_with_quantization(dtype: torch.dtype) -> None:
    block = torch.linalg.qr(normal(32, 32))[0]
    left, right = torch.linalg.qr(normal(12, 12))[0], torch.linalg.qr(normal(16, 16, seed=1))[0]
    narrow = QuantArgs(num_bits=4, strategy="token", dynamic=True, clip_ratio=0.9)
    for tokens in SIZES:
        x = normal(tokens, 192).to(dtype)
        for factors, args in (((None, block), TOKENWISE), ((left, right), narrow)):
            expected = resolve("rotate", "reference").apply(x, *factors)
            alone = resolve("rotate", "ascend")
            assert_near(alone.apply(x, *factors), expected, alone.TOLERANCE[dtype], x.float().norm(dim=1, keepdim=True))
            q, scale = resolve("rotate_quantize_per_token", "reference").apply(x, *factors, args=args)
            found, found_scale = resolve("rotate_quantize_per_token", "ascend").apply(x, *factors, args=args)
            assert torch.allclose(found_scale, scale, rtol=1e-5)
            # float32 products in another order: a value at a tie may round to the other side.
            assert (found.int() - q.int()).abs().amax() <= 1
            assert (found != q).float().mean() < 0.01


def test_the_left_factor_is_not_taken_for_its_transpose() -> None:
    left, right = torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.eye(64)
    args = QuantArgs(num_bits=4, strategy="token", dynamic=True)
    x = normal(3, 128).half()
    q, _ = resolve("rotate_quantize_per_token", "ascend").apply(x, left, right, args=args)
    wrong, _ = resolve("rotate_quantize_per_token", "ascend").apply(x, left.t(), right, args=args)
    expected, _ = resolve("rotate_quantize_per_token", "reference").apply(x, left, right, args=args)
    assert (q != expected).float().mean() < 0.01
    assert (wrong != expected).float().mean() > 0.1


def cached(dtype: torch.dtype) -> tuple[torch.Tensor, tuple[Any, Any], tuple[Any, Any], list[int]]:
    batch, heads, key_heads, head_dim, lengths = 3, 4, 2, 16, [1, 63, 40]
    width = key_heads * head_dim
    scales = (normal(width).abs() / 30 + 0.01, normal(width, seed=1).abs() / 30 + 0.01)
    caches = tuple(torch.zeros(batch, 64, width, dtype=torch.int8) for _ in range(2))
    for stored, scale in zip(caches, scales, strict=True):
        resolve("kv_cache_write", "ascend").apply(
            stored, torch.zeros(batch, dtype=torch.int32), normal(batch, 63, width).to(dtype), scale
        )
    return normal(batch, 1, heads * head_dim).to(dtype), (caches[0], caches[1]), scales, lengths


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_cache_of_int8_is_written_to_the_same_bits(dtype: torch.dtype) -> None:
    new, scale = normal(3, 5, 32).to(dtype), normal(32).abs() / 50 + 0.01
    positions = torch.tensor([0, 7, 58], dtype=torch.int32)
    written = []
    for backend in ("reference", "ascend"):
        cache = torch.full((3, 63, 32), 99, dtype=torch.int8)
        resolve("kv_cache_write", backend).apply(cache, positions, new, scale)
        written.append(cache)
    assert torch.equal(*written)
    assert (written[0][0, 5:] == 99).all()
    assert written[0].amin() == -128 or written[0].amax() == 127


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_attention_over_a_cache_of_int8_agrees_with_the_contract(dtype: torch.dtype) -> None:
    query, cache, scales, lengths = cached(dtype)
    heads = {"num_heads": 4, "num_key_value_heads": 2, "softmax_scale": 0.25}
    expected = resolve("kv_attention", "reference").apply(query, cache, scales, lengths, **heads)
    body = resolve("kv_attention", "ascend")
    found = body.apply(query, cache, scales, lengths, **heads)
    assert_near(found, expected, body.TOLERANCE[dtype], expected.float().abs().amax(dim=-1, keepdim=True))


def test_eight_integers_lie_in_an_int32_as_the_vendor_packs_them() -> None:
    assert pack_int32(torch.arange(8, dtype=torch.int8)[None]).tolist() == [[0x76543210]]
    values = torch.arange(-8, 8, dtype=torch.int8).repeat(3, 1)
    assert torch.equal(unpack_int32(pack_int32(values)), values)


def test_the_parameter_of_the_matrix_unit_keeps_ten_bits_of_a_mantissa() -> None:
    scale = torch.tensor([1.0, 1.0 + 2**-10, 1.0 + 2**-11, 0.1])
    parameter = encode_quant_param(scale)
    assert (parameter >> 46 == 1).all()
    assert decode_quant_param(parameter)[:3].tolist() == [1.0, 1.0 + 2**-10, 1.0]
    lost = 1 - truncate_scale(normal(1000).abs()) / normal(1000).abs()
    assert lost.min() >= 0
    assert lost.max() < 2**-10


@pytest.mark.parametrize("op", SCHEMAS)
def test_the_backend_passes_only_what_the_schema_has(op: str) -> None:
    assert lacking(op, arguments(SCHEMAS[op])) == []
    assert op in KERNELS
    assert lacking(op, []) == list(PASSED[op])


def test_a_release_without_an_argument_is_named() -> None:
    assert "npu_made_up" in str(vendor.unavailable("npu_made_up"))


@pytest.mark.parametrize("name", ACCEPTED_BY_THE_VENDOR)
def test_what_the_vendor_takes_though_it_is_wrong_is_refused(name: str) -> None:
    function, changes = ACCEPTED_BY_THE_VENDOR[name]
    getattr(vendor, function)(**good()[function])
    with pytest.raises(KernelError, match=r"found .*; possible: "):
        getattr(vendor, function)(**good()[function] | changes)


def test_the_emulation_refuses_what_it_does_not_do() -> None:
    with pytest.raises(KernelError, match=r"group_index=.* is not emulated"):
        torch.ops.npu.npu_dynamic_quant(
            input=torch.ones(2, 8).half(), smooth_scales=torch.ones(1, 8).half(), group_index=torch.tensor([2])
        )


@pytest.mark.parametrize("bits", [4, 8])
def test_activations_of_other_settings_are_refused(bits: int) -> None:
    args = QuantArgs(num_bits=bits, strategy="token", dynamic=True, clip_ratio=0.9)
    with pytest.raises(KernelError, match="possible: 8 bits, unclipped"):
        resolve("quantize_per_token", "ascend").apply(torch.ones(1, 8).half(), args=args)


def test_the_backend_is_chosen_on_its_own_devices_only() -> None:
    assert choose_backend("int8_linear", CHANNEL8, requested="auto", device_type="emulated-910b") == "ascend"
    with pytest.raises(KernelError, match="it runs on emulated-910b or npu"):
        choose_backend("int8_linear", CHANNEL8, requested="ascend", device_type="cpu")


def _wrong_axis(tensor: QuantTensor) -> Buffers:
    packed: Buffers = resolve("int8_linear", "ascend").pack(tensor)
    return packed | {"scale": tensor.data.float().abs().amax(dim=0)[: len(packed["scale"])] / 127}


def _forgotten_offset(tensor: QuantTensor) -> Buffers:
    packed: Buffers = resolve("int4_linear", "ascend").pack(tensor)
    return packed | {"offset": torch.zeros_like(packed["offset"])}


def _shifted_groups(tensor: QuantTensor) -> Buffers:
    packed: Buffers = resolve("int4_linear", "ascend").pack(tensor)
    return packed | {"scale": packed["scale"].roll(1, dims=0)}


def _reversed_nibbles(tensor: QuantTensor) -> Buffers:
    packed: Buffers = resolve("int4_linear", "ascend").pack(tensor)
    turned = unpack_int32(packed["data"]).unflatten(1, (-1, 8)).flip(2).flatten(1)
    return packed | {"data": pack_int32(turned)}


def _odd_even_layout(tensor: QuantTensor) -> Buffers:
    packed: Buffers = resolve("int4_linear", "ascend").pack(tensor)
    values = unpack_int32(packed["data"]).unflatten(1, (-1, 2, 4))
    return packed | {"data": pack_int32(values.transpose(2, 3).flatten(1))}


FAULTS: dict[str, tuple[str, QuantArgs, Callable[[QuantTensor], Buffers]]] = {
    "the scale runs along the inputs": ("int8_linear", CHANNEL8, _wrong_axis),
    "the offset of W4A8 is forgotten": ("int4_linear", WEIGHTS["W4 per channel"], _forgotten_offset),
    "a group has its neighbour's scale": ("int4_linear", WEIGHTS["W4 in groups of 256"], _shifted_groups),
    "int4 is packed from the other end": ("int4_linear", WEIGHTS["W4 per channel"], _reversed_nibbles),
    "int4 is packed odd after even": ("int4_linear", WEIGHTS["W4 per channel"], _odd_even_layout),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_in_packing_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    op, args, broken = FAULTS[fault]
    assert_linear_agrees(op, (63, 512, 128), torch.float16, args)
    packed = broken(quantized(normal(128, 512), args))
    monkeypatch.setattr(resolve(op, "ascend"), "pack", lambda _tensor: packed)
    with pytest.raises(AssertionError):
        assert_linear_agrees(op, (63, 512, 128), torch.float16, args)


def test_a_cast_that_wraps_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "_saturate", lambda values: torch.round(values).to(torch.int32).to(torch.int8))
    with pytest.raises(AssertionError):
        test_what_does_not_fit_saturates_and_does_not_wrap()


def test_w4a8_multiplies_with_eight_less() -> None:
    x, w = torch.randint(-128, 128, (5, 512), dtype=torch.int8), torch.randint(-8, 8, (512, 64), dtype=torch.int8)
    scale = encode_quant_param(torch.ones(2, 64))
    found = matmul.quant_matmul(x, pack_int32(w), scale, pertoken_scale=torch.ones(5, 1), output_dtype=5)
    exact = (x.double() - 8) @ w.double()
    assert torch.equal(found, exact.half())
