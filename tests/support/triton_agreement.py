"""What every way of running the kernels has to agree with: the reference, at odd shapes."""

import types
from collections.abc import Callable

import torch

from quantguard.kernels import kv_cache, quantize_per_tensor, quantize_per_token, resolve, rotate_quantize_per_token
from quantguard.numerics import KVQuantizer, QuantTensor
from quantguard.numerics.hadamard import hadamard_factors, hadamard_matrix
from quantguard.records import QuantArgs
from quantguard.rounding import nearest

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
LINEAR_SHAPES = ((1, 1, 1), (1, 256, 123), (63, 63, 63), (123, 300, 129), (130, 520, 129))
GROUPS = (None, 32, 64, 128)


def tokenwise(num_bits: int = 8, *, clip_ratio: float = 1.0, symmetric: bool = True) -> QuantArgs:
    return QuantArgs(num_bits=num_bits, strategy="token", dynamic=True, clip_ratio=clip_ratio, symmetric=symmetric)


def draw(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return (torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))) * 10).to(dtype)


def check_quantize_per_token(module: types.ModuleType, dtype: torch.dtype) -> None:
    for shape in ((1, 1), (63, 63), (123, 129), (5, 600), (9, 1500), (3, 3584), (3, 8191), (5, 9001)):
        for args in (tokenwise(), tokenwise(clip_ratio=0.9), tokenwise(4, clip_ratio=0.9)):
            x = draw(*shape, dtype=dtype)
            x[0] = 0
            for found, expected in zip(module.apply(x, args=args), quantize_per_token.apply(x, args=args), strict=True):
                assert torch.equal(found, expected), (shape, args)


def check_quantize_per_tensor(module: types.ModuleType, dtype: torch.dtype) -> None:
    for shape in ((1, 1), (63, 63), (123, 129)):
        for num_bits in (8, 4):
            args = QuantArgs(num_bits=num_bits, strategy="tensor")
            x, scale = draw(*shape, dtype=dtype), torch.tensor([[0.0712]])
            expected = quantize_per_tensor.apply(x, scale, args=args)
            for found, wanted in zip(module.apply(x, scale, args=args), expected, strict=True):
                assert torch.equal(found, wanted), (shape, num_bits)


def _quantized(num_bits: int, group_size: int | None, shape: tuple[int, int]) -> QuantTensor:
    args = QuantArgs(num_bits=num_bits, strategy="group" if group_size else "channel", group_size=group_size)
    weight = draw(*shape) * torch.linspace(0.1, 3, shape[1])
    tensor = nearest.quantize_weight(weight, args, stats=None, options={})
    assert isinstance(tensor, QuantTensor)
    return tensor


def _check_linear(module: types.ModuleType, op: str, dtype: torch.dtype, group_size: int | None) -> None:
    reference = resolve(op, "reference")
    for tokens, inputs, outputs in LINEAR_SHAPES:
        tensor = _quantized(4 if op == "int4_linear" else 8, group_size, (outputs, inputs))
        q, scale = quantize_per_token.apply(draw(tokens, inputs), args=tokenwise())
        for bias in (None, draw(outputs)):
            expected, found = (
                body.apply(q, scale, body.pack(tensor), bias, args=tensor.args, output_dtype=dtype)
                for body in (reference, module)
            )
            assert torch.equal(found, expected), (tokens, inputs, outputs, group_size, bias is None)


def check_int8_linear(module: types.ModuleType, dtype: torch.dtype) -> None:
    _check_linear(module, "int8_linear", dtype, None)


def check_int4_linear(module: types.ModuleType, dtype: torch.dtype) -> None:
    for group_size in GROUPS:
        _check_linear(module, "int4_linear", dtype, group_size)


def check_kv_cache(module: types.ModuleType, dtype: torch.dtype) -> None:
    for shape in ((1, 1, 1, 1), (2, 3, 7, 63), (1, 2, 41, 128), (1, 1, 5, 200)):
        for args in (tokenwise(), tokenwise(symmetric=False), tokenwise(symmetric=False, clip_ratio=0.9)):
            x = draw(*shape, dtype=dtype)
            quantizer = KVQuantizer(args=args)
            expected, found = kv_cache.store(x, quantizer), module.store(x, quantizer)
            assert set(found) == set(expected)
            for name, tensor in found.items():
                assert torch.equal(tensor, expected[name]), (shape, args, name)
            restored = module.restore(found, quantizer, output_dtype=dtype)
            assert torch.equal(restored, kv_cache.restore(found, quantizer, output_dtype=dtype)), (shape, args)


def check_rotate_quantize_per_token(module: types.ModuleType, dtype: torch.dtype) -> None:
    if dtype == torch.float32:
        return
    for tokens, width in ((1, 16), (7, 144), (5, 1024), (3, 3584), (3, 4096)):
        left, right = hadamard_factors(width)
        for args in (tokenwise(), tokenwise(4, clip_ratio=0.9)):
            _check_rotation(module, draw(tokens, width, dtype=dtype), left.float(), right.float(), args)
    right = hadamard_matrix(16).float() / 4
    _check_rotation(module, draw(63, 240, dtype=dtype), None, right, tokenwise())
    asymmetric = torch.linalg.qr(draw(12, 12))[0]
    _check_rotation(module, draw(63, 144, dtype=dtype), asymmetric, asymmetric.t().contiguous(), tokenwise())


def _check_rotation(
    module: types.ModuleType, x: torch.Tensor, left: torch.Tensor | None, right: torch.Tensor, args: QuantArgs
) -> None:
    expected, expected_scale = rotate_quantize_per_token.apply(x, left, right, args=args)
    found, scale = module.apply(x, left, right, args=args)
    torch.testing.assert_close(scale, expected_scale, rtol=1e-4, atol=0)
    steps = (found.int() - expected.int()).abs()
    assert int(steps.max()) <= module.LARGEST_STEP
    assert float((steps > 0).float().mean()) <= module.SHARE_OF_STEPS


CHECKS: dict[str, Callable[[types.ModuleType, torch.dtype], None]] = {
    "quantize_per_token": check_quantize_per_token,
    "quantize_per_tensor": check_quantize_per_tensor,
    "int8_linear": check_int8_linear,
    "int4_linear": check_int4_linear,
    "kv_cache": check_kv_cache,
    "rotate_quantize_per_token": check_rotate_quantize_per_token,
}
