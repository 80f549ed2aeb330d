"""Affine quantization keeps its bounds for every width, symmetry and grouping."""

import hypothesis
import pytest
import torch
from hypothesis import strategies as st

from quantguard import numerics
from quantguard.errors import QuantguardError
from quantguard.numerics import QuantTensor
from quantguard.records import QuantArgs
from quantguard.rounding import nearest


def weights(rows: int, columns: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def quantized(weight: torch.Tensor, args: QuantArgs) -> QuantTensor:
    return nearest.quantize_weight(weight, args, stats=None, options={})


def check_error_is_within_half_a_step(weight: torch.Tensor, tensor: QuantTensor) -> None:
    size = tensor.args.group_size or weight.shape[1]
    step = tensor.scale[:, torch.arange(weight.shape[1]) // size]
    assert ((weight - numerics.dequantize(tensor)).abs() <= step * 0.5001).all()


SETTINGS = st.builds(
    lambda num_bits, symmetric, group_size: QuantArgs(
        num_bits=num_bits,
        symmetric=symmetric,
        strategy="group" if group_size else "channel",
        group_size=group_size,
    ),
    num_bits=st.integers(2, 8),
    symmetric=st.booleans(),
    group_size=st.sampled_from((None, 1, 32, 64, 500)),
)


@hypothesis.given(
    rows=st.sampled_from((1, 3, 63)), columns=st.sampled_from((1, 2, 63, 123)), args=SETTINGS, seed=st.integers(0, 99)
)
def test_no_weight_moves_by_more_than_half_a_step(rows: int, columns: int, args: QuantArgs, seed: int) -> None:
    weight = weights(rows, columns, seed)
    tensor = quantized(weight, args)
    assert tensor.data.min() >= args.minimum
    assert tensor.data.max() <= args.maximum
    check_error_is_within_half_a_step(weight, tensor)


def test_the_half_step_bound_catches_a_group_index_that_is_off_by_one() -> None:
    weight = weights(8, 128, 0) * torch.logspace(0, 2, 128)
    tensor = quantized(weight, QuantArgs(num_bits=4, strategy="group", group_size=32))
    shifted = QuantTensor(data=tensor.data, scale=tensor.scale.roll(1, dims=1), zero_point=None, args=tensor.args)
    with pytest.raises(AssertionError):
        check_error_is_within_half_a_step(weight, shifted)


def test_a_row_of_zeros_stays_zero() -> None:
    tensor = quantized(torch.zeros(2, 5), QuantArgs(num_bits=4, strategy="channel"))
    assert not numerics.dequantize(tensor).any()


def test_a_last_group_that_is_short_has_its_own_scale() -> None:
    weight = torch.tensor([[1.0, 1.0, 1.0, 100.0]])
    tensor = quantized(weight, QuantArgs(num_bits=8, strategy="group", group_size=3))
    assert tensor.scale.shape == (1, 2)
    torch.testing.assert_close(numerics.dequantize(tensor), weight)


def test_a_quant_tensor_with_the_wrong_number_of_scales_is_refused() -> None:
    args = QuantArgs(num_bits=8, strategy="channel")
    with pytest.raises(QuantguardError, match="scale has shape"):
        QuantTensor(data=torch.zeros(2, 4, dtype=torch.int8), scale=torch.ones(2, 2), zero_point=None, args=args)


@hypothesis.given(rows=st.integers(1, 9), columns=st.integers(1, 70), seed=st.integers(0, 99))
def test_int4_packing_is_undone_exactly(rows: int, columns: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-8, 8, (rows, columns), dtype=torch.int8, generator=generator)
    packed = numerics.pack_int4(values)
    assert packed.shape == (rows, (columns + 1) // 2)
    assert torch.equal(numerics.unpack_int4(packed, columns), values)


def test_the_even_column_is_in_the_low_nibble() -> None:
    assert numerics.pack_int4(torch.tensor([[1, -2]], dtype=torch.int8)).tolist() == [[0xE1]]


def test_packing_refuses_what_four_bits_cannot_hold() -> None:
    with pytest.raises(QuantguardError, match="from -8 to 7"):
        numerics.pack_int4(torch.tensor([[8]], dtype=torch.int8))


def check_scales_follow_the_values() -> None:
    """Hold scales against the formulas at every magnitude, and zeros against the one number that stands for them."""
    magnitudes = torch.logspace(-26, 34, 61)[:, None]
    values = torch.tensor([[1.0, -0.4, 0.25]]) * magnitudes
    scale, _ = numerics.choose_scale(values, QuantArgs(num_bits=8, strategy="channel"))
    assert torch.equal(scale, magnitudes / 127)
    scale, zero_point = numerics.choose_scale(values, QuantArgs(num_bits=4, strategy="channel", symmetric=False))
    assert torch.allclose(scale, 1.4 * magnitudes / 15, rtol=1e-6, atol=0)
    assert zero_point is not None
    assert (zero_point == -4).all()
    for symmetric in (True, False):
        args = QuantArgs(num_bits=4, strategy="channel", symmetric=symmetric)
        # Not by pytest.approx, to which everything below 1e-12 is alike.
        assert torch.equal(numerics.choose_scale(torch.zeros(1, 3), args)[0], torch.full((1, 1), 1e-30))


def test_scales_follow_the_values_at_every_magnitude() -> None:
    check_scales_follow_the_values()


@pytest.mark.parametrize("floor", [0.0, 1e-12, 1e-2], ids="a floor of {}".format)
def test_the_formulas_catch(floor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numerics.affine, "SMALLEST_SCALE", floor)
    with pytest.raises(AssertionError):
        check_scales_follow_the_values()
