"""Quantization with gradients: values of the reference arithmetic, and gradients of the formulas, compiled or not."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantguard.numerics import choose_scale, fake_quantize, quantize_columns, straight_through_cpu
from quantguard.numerics.straight_through import by_formula
from quantguard.records import QuantArgs

SETTINGS = {
    f"{bits} bits, {'symmetric' if symmetric else 'asymmetric'}, {ratio}": QuantArgs(
        num_bits=bits, symmetric=symmetric, strategy="token", dynamic=True, clip_ratio=ratio
    )
    for bits in (3, 4, 8)
    for symmetric in (True, False)
    for ratio in (1.0, 0.9)
}


def rows(seed: int, columns: int, *, dtype: torch.dtype) -> torch.Tensor:
    x = torch.randn(7, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x[1] = 0.0  # nothing to scale by
    x[2] = x[2].abs()  # the range is widened to hold zero
    x[3, 0] = 40.0  # one channel stands out
    x[4, : columns // 2] = x[4, 0]  # ties for the extreme
    return x.to(dtype)


@settings(deadline=None)  # the first example compiles
@given(st.integers(0, 2**31), st.sampled_from((1, 63, 123)), st.sampled_from(list(SETTINGS)))
def test_values_are_those_of_the_reference_arithmetic(seed: int, columns: int, setting: str) -> None:
    args, x = SETTINGS[setting], rows(seed, columns, dtype=torch.float32)
    scale, zero_point = choose_scale(x, args)
    integers = quantize_columns(x, scale, zero_point, args).float()
    expected = (integers - (0.0 if zero_point is None else zero_point)) * scale
    assert torch.equal(fake_quantize(x, args), expected)


def gradients(
    function: object, x: torch.Tensor, low: torch.Tensor, high: torch.Tensor, args: QuantArgs
) -> tuple[torch.Tensor, ...]:
    leaves = [tensor.clone().requires_grad_() for tensor in (x, low, high)]
    y = function(leaves[0], args, leaves[1], leaves[2])  # type: ignore[operator]
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    (y * weight).sum().backward()
    return tuple(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves)


def compiled(x: torch.Tensor, args: QuantArgs, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    return fake_quantize(x, args, clip_low=low, clip_high=high)


@settings(deadline=None)  # the first example compiles
@given(st.integers(0, 2**31), st.sampled_from((1, 63, 123)), st.sampled_from(list(SETTINGS)))
def test_compiled_gradients_are_those_of_the_formulas(seed: int, columns: int, setting: str) -> None:
    x, args = rows(seed, columns, dtype=torch.float64), SETTINGS[setting]
    low, high = torch.rand(2, 7, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.5 + 0.5
    for found, expected in zip(
        gradients(compiled, x, low, high, args), gradients(by_formula, x, low, high, args), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("symmetry", ["symmetric", "asymmetric"])
def test_a_forgotten_gradient_of_the_scale_is_seen(symmetry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    args = QuantArgs(num_bits=4, symmetric=symmetry == "symmetric", strategy="token", dynamic=True)
    name = f"_{symmetry}_backward"
    genuine = getattr(straight_through_cpu, name)

    def without_scale(*arrays: object) -> None:
        genuine(*arrays)
        arrays[6].fill(0)  # type: ignore[attr-defined]

    monkeypatch.setattr(straight_through_cpu, name, without_scale)
    x, share = rows(0, 63, dtype=torch.float64), torch.full((7, 1), 0.8, dtype=torch.float64)
    found, expected = (gradients(f, x, share, share, args)[2] for f in (compiled, by_formula))
    assert not torch.allclose(found, expected)


@pytest.mark.parametrize("group_size", [16, 50], ids=["even groups", "a short last group"])
def test_groups_are_quantized_by_themselves(group_size: int) -> None:
    args = QuantArgs(num_bits=4, strategy="group", group_size=group_size)
    x = rows(0, 64, dtype=torch.float32)
    expected = torch.cat([by_formula(piece, args, 1.0, 1.0) for piece in x.split(group_size, dim=1)], dim=1)
    assert torch.equal(fake_quantize(x, args), expected)


def test_nan_is_not_hidden() -> None:
    x = rows(0, 63, dtype=torch.float32)
    x[0, 5] = torch.nan
    for args in SETTINGS.values():
        assert fake_quantize(x, args)[0].isnan().any()
