"""Weights that are dequantized once for many batches compute what they would have computed."""

import pytest
import torch
from families import build

from quantguard.modeling import find_decoder, quantizable_linears
from quantguard.modeling.quant_linear import QuantLinear, held_weights
from quantguard.modeling.swapping import QuantizedLayer, swap_linears
from quantguard.numerics import choose_group_scales, round_to_nearest
from quantguard.records import QuantArgs


@pytest.mark.parametrize("num_bits", [4, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_held_weights_change_no_bit_and_are_let_go(num_bits: int, dtype: torch.dtype) -> None:
    block = find_decoder(build("llama").model).blocks[0]
    args = QuantArgs(num_bits=num_bits, strategy="channel")
    layers = {}
    for name, linear in quantizable_linears([block], ()).items():
        weight = linear.weight.detach().float()
        tensor = round_to_nearest(weight, args, *choose_group_scales(weight, args))
        layers[name] = QuantizedLayer(weight=tensor, input_activations=None)
    swap_linears(block, layers, backend="reference", device_type="cpu")
    linear = block.linears["model.layers.0.self_attn.q_proj"]
    assert isinstance(linear, QuantLinear)
    x = torch.randn(7, linear.in_features, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = linear(x)
    with held_weights(block):
        for buffer in linear.packed_names:
            getattr(linear, buffer).zero_()  # what is held is what computes
        assert torch.equal(linear(x), expected)
    assert not torch.equal(linear(x), expected)
