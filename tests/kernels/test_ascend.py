"""The ascend backend on the emulated device agrees with the contracts, and what the vendor lets pass is refused."""

import inspect
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
from quantguard.numerics import KVQuantizer, QuantTensor, dequantize, static_kv_quantizer
from quantguard.numerics.quant_param import decode_quant_param, encode_quant_param, truncate_scale
from quantguard.records import QuantArgs, RotationArgs
from quantguard.rounding import nearest
from tests.support.vendor_calls import ACCEPTED_BY_THE_VENDOR, good

SIZES = (1, 63, 123)
SHAPES = [*itertools.product(SIZES, (1, 63, 256), SIZES), (3, 600, 24)]
DTYPES = (torch.float16, torch.bfloat16)
TOKENWISE = QuantArgs(num_bits=8, strategy="token", dynamic=True)
CHANNEL8 = QuantArgs(num_bits=8, strategy="channel")
FOUR_BITS = QuantArgs(num_bits=4, strategy="token", dynamic=True)
FOUR_BIT_WEIGHTS = QuantArgs(num_bits=4, strategy="channel")
KV = {
    "8 bits a token, asymmetric": QuantArgs(num_bits=8, strategy="token", dynamic=True, symmetric=False),
    "8 bits a token, symmetric": TOKENWISE,
    "8 bits a channel": CHANNEL8,
    "4 bits a token, asymmetric": QuantArgs(num_bits=4, strategy="token", dynamic=True, symmetric=False),
    "4 bits a token, symmetric": FOUR_BITS,
}
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
def test_tokens_are_quantized_to_the_same_bits(dtype: torch.dtype) -> None:
    for tokens, width in itertools.product(SIZES, (2, 63, 256)):
        x, smooth = normal(tokens, width).to(dtype), normal(width, seed=1).abs().to(dtype)
        for given in (None, smooth):
            expected = resolve("quantize_per_token", "reference").apply(x, args=TOKENWISE, smooth=given)
            found = resolve("quantize_per_token", "ascend").apply(x, args=TOKENWISE, smooth=given)
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tokens_are_quantized_to_the_same_four_bits_packed(dtype: torch.dtype) -> None:
    for tokens, width in itertools.product(SIZES, (8, 64, 256)):
        x = normal(tokens, width).to(dtype)
        expected, scale = resolve("quantize_per_token", "reference").apply(x, args=FOUR_BITS)
        found, found_scale = resolve("quantize_per_token", "ascend").apply(x, args=FOUR_BITS)
        assert torch.equal(unpack_int32(found), expected)
        assert torch.equal(found_scale, scale)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_four_bits_times_four_bits_agree_with_the_contract(dtype: torch.dtype) -> None:
    reference, candidate = resolve("w4a4_linear", "reference"), resolve("w4a4_linear", "ascend")
    for tokens, inputs, outputs in itertools.product(SIZES, (8, 64, 256), SIZES):
        tensor = quantized(normal(outputs, inputs), FOUR_BIT_WEIGHTS)
        q, scale = resolve("quantize_per_token", "reference").apply(normal(tokens, inputs), args=FOUR_BITS)
        for bias in (None, normal(outputs)):
            settings = {"args": FOUR_BIT_WEIGHTS, "output_dtype": dtype}
            expected = reference.apply(q, scale, reference.pack(tensor), bias, **settings)
            found = candidate.apply(pack_int32(q), scale, candidate.pack(tensor), bias, **settings)
            exact = (q.float() * scale) @ dequantize(tensor).float().t()
            magnitude = exact.abs() + (0 if bias is None else bias.abs())
            assert_near(found, expected, candidate.TOLERANCE[dtype], magnitude)


def test_inputs_that_do_not_fill_int32_are_refused_when_a_layer_is_built() -> None:
    odd = nearest.quantize_weight(normal(16, 60), FOUR_BIT_WEIGHTS, stats=None, options={})
    assert isinstance(odd, QuantTensor)
    with pytest.raises(KernelError, match="60 inputs"):
        resolve("w4a4_linear", "ascend").pack(odd)


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
            found = found if args.num_bits == 8 else unpack_int32(found)
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
    assert (unpack_int32(q) != expected).float().mean() < 0.01
    assert (unpack_int32(wrong) != expected).float().mean() > 0.1


def test_a_left_factor_alone_is_rotated_and_quantized_beside_the_identity() -> None:
    left, x = torch.linalg.qr(normal(12, 12))[0], normal(63, 192).half()
    q, scale = resolve("rotate_quantize_per_token", "reference").apply(x, left, None, args=FOUR_BITS)
    found, found_scale = resolve("rotate_quantize_per_token", "ascend").apply(x, left, None, args=FOUR_BITS)
    assert torch.allclose(found_scale, scale, rtol=1e-5)
    assert (unpack_int32(found) != q).float().mean() < 0.01


@pytest.mark.parametrize(
    ("rotation", "complaint"),
    [
        pytest.param(
            RotationArgs(width=192, left=12, right=16, activations=TOKENWISE), "by blocks to 8", id="to 8 bits"
        ),
        pytest.param(
            RotationArgs(width=192, left=None, right=32, activations=FOUR_BITS), "by blocks to 8", id="to 4 bits"
        ),
        pytest.param(RotationArgs(width=64, left=None, right=32, activations=TOKENWISE), "from 128", id="a short row"),
        pytest.param(
            RotationArgs(width=192, left=16, right=12, activations=FOUR_BITS), "multiple of 8", id="12 columns"
        ),
        pytest.param(
            RotationArgs(width=192, left=16, right=None, activations=FOUR_BITS), "multiple of 8", id="12 beside"
        ),
    ],
)
def test_a_rotation_that_the_vendor_does_not_fuse_is_refused(rotation: RotationArgs, complaint: str) -> None:
    assert complaint in str(resolve("rotate_quantize_per_token", "ascend").unsupported(rotation))


def quantizer_of(args: QuantArgs, x: torch.Tensor) -> KVQuantizer:
    return static_kv_quantizer(x, args) if args.strategy == "channel" else KVQuantizer(args=args)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", KV)
def test_keys_come_back_as_the_contract_has_them(name: str, dtype: torch.dtype) -> None:
    body, reference = resolve("kv_cache", "ascend"), resolve("kv_cache", "reference")
    assert body.unsupported(KV[name]) is None
    for tokens in SIZES:
        x = (normal(2, 3, tokens, 16) + 0.5).to(dtype)
        quantizer = quantizer_of(KV[name], x)
        expected = reference.store(x, quantizer)
        stored = body.store(x, quantizer)
        found = body.restore(stored, quantizer, output_dtype=torch.float32)
        wanted = reference.restore(expected, quantizer, output_dtype=torch.float32)
        step = expected.get("scale", quantizer.scale)
        assert ((found - wanted).abs() <= body.TOLERANCE_STEPS * step).all()
        assert all(t.shape[-2] == tokens for t in stored.values())
        if name == "8 bits a channel":
            assert torch.equal(stored["data"], expected["data"])


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        pytest.param(QuantArgs(num_bits=8, strategy="token", dynamic=True, clip_ratio=0.9), "not clip", id="clipped"),
        pytest.param(QuantArgs(num_bits=6, strategy="token", dynamic=True), "4 or 8 bits", id="6 bits"),
        pytest.param(QuantArgs(num_bits=8, strategy="channel", symmetric=False), "8 symmetric bits", id="a zero point"),
    ],
)
def test_a_cache_that_the_vendor_does_not_store_is_refused(args: QuantArgs, complaint: str) -> None:
    assert complaint in str(resolve("kv_cache", "ascend").unsupported(args))
    assert complaint in str(resolve("kv_attention", "ascend").unsupported(args) or "") or args.num_bits != 8


def attended(name: str, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the contract and the backend make of the same integers, hidden tokens among them."""
    x = [(normal(3, 2, 63, 16, seed=seed) + 0.5).to(dtype) for seed in (0, 1)]
    quantizers = quantizer_of(KV[name], x[0]), quantizer_of(KV[name], x[1])
    hidden = torch.arange(63) >= torch.tensor([1, 63, 40])[:, None]
    query = normal(3, 4, 1, 16).to(dtype)
    stored = tuple(resolve("kv_cache", "ascend").store(part, q) for part, q in zip(x, quantizers, strict=True))
    zero_points = tuple({**part, "zero_point": part["offset"]} if "offset" in part else part for part in stored)
    heads = {"softmax_scale": 0.25}
    expected = resolve("kv_attention", "reference").apply(
        query, zero_points, quantizers, hidden[:, None, None], **heads
    )
    return expected, resolve("kv_attention", "ascend").apply(query, stored, quantizers, hidden[:, None, None], **heads)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", [name for name, args in KV.items() if args.num_bits == 8])
def test_attention_over_a_cache_of_int8_agrees_with_the_contract(name: str, dtype: torch.dtype) -> None:
    expected, found = attended(name, dtype)
    tolerance = resolve("kv_attention", "ascend").TOLERANCE[dtype]
    assert_near(found, expected, tolerance, expected.float().abs().amax(dim=-1, keepdim=True))


def test_an_offset_of_the_wrong_sign_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = vendor.attention_int8

    def turned(query: Any, cache: Any, scales: Any, offsets: Any, hidden: Any, **more: Any) -> torch.Tensor:
        return plain(query, cache, scales, tuple(-offset for offset in offsets), hidden, **more)

    monkeypatch.setattr(vendor, "attention_int8", turned)
    expected, found = attended("8 bits a token, asymmetric", torch.float16)
    assert (found - expected).abs().max() > 0.1


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


def test_every_call_of_the_vendor_is_in_the_vendor_contract() -> None:
    functions = {
        name
        for name, value in vars(vendor).items()
        if inspect.isfunction(value) and value.__module__ == vendor.__name__ and not name.startswith("_")
    }
    assert functions - {"unavailable"} == set(good())


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


@pytest.mark.parametrize(
    ("bits", "clip_ratio"), [(6, 1.0), (8, 0.9), (4, 0.9)], ids=["6 bits", "clipped", "4, clipped"]
)
def test_activations_of_other_settings_are_refused(bits: int, clip_ratio: float) -> None:
    args = QuantArgs(num_bits=bits, strategy="token", dynamic=True, clip_ratio=clip_ratio)
    with pytest.raises(KernelError, match=r"no kernel for quantize_per_token .*4 or 8 bits, unclipped"):
        choose_backend("quantize_per_token", args, requested="ascend", device_type="emulated-910b")


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
