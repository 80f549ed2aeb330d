"""Keys and values in integers: what is stored, what comes back, and that generation and scoring see the same."""

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantguard.errors import QuantguardError
from quantguard.kernels import kv_cache
from quantguard.modeling import BlockCalibration, embed, find_decoder
from quantguard.modeling.attention import extend_attention
from quantguard.modeling.integer_cache import IntegerCacheLayer, new_cache
from quantguard.modeling.kv_store import KVStore
from quantguard.numerics import KVQuantizer, static_kv_quantizer
from quantguard.pipeline.quantizing import quantize_decoder
from quantguard.records import QuantArgs, Recipe
from tests.support.families import build, tokens

TOKENWISE = {
    f"{bits} bits, {'symmetric' if symmetric else 'asymmetric'}": QuantArgs(
        num_bits=bits, strategy="token", dynamic=True, symmetric=symmetric
    )
    for bits in (4, 8)
    for symmetric in (True, False)
}
STATIC = {"8 bits per channel": QuantArgs(num_bits=8, strategy="channel", symmetric=False)}
LOOSE = QuantArgs(num_bits=8, strategy="channel")


def stored_by(quantizer: KVQuantizer) -> KVStore:
    return KVStore(quantizers=(quantizer, quantizer), cache=kv_cache)


def quantized(args: QuantArgs, family: str = "qwen3") -> Any:
    loaded = build(family)
    recipe = Recipe(name="kv", weights=LOOSE, kv_cache=args)
    quantize_decoder(
        find_decoder(loaded.model), recipe, tokens(), loaded.calibration, backend="reference", device_type="cpu"
    )
    return loaded.model


@given(st.integers(0, 2**31), st.sampled_from(list(TOKENWISE)))
@settings(max_examples=30, deadline=None)
def test_what_comes_back_is_within_half_a_step(seed: int, name: str) -> None:
    quantizer = KVQuantizer(args=TOKENWISE[name])
    x = torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(seed)) * 10 ** (seed % 5)
    stored = quantizer.store(x)
    # Where the zero point was rounded an extreme can lie half a step outside the range.
    bound = 0.5 if TOKENWISE[name].symmetric else 1.0
    assert ((quantizer.restore(stored) - x).abs() <= bound * stored["scale"] * (1 + 1e-5)).all()


@pytest.mark.parametrize("name", TOKENWISE)
def test_a_token_is_quantized_alike_alone_and_in_company(name: str) -> None:
    quantizer = KVQuantizer(args=TOKENWISE[name])
    x = torch.randn(2, 3, 5, 8)
    together = quantizer.round_trip(x)
    assert torch.equal(together[:, :, 2:3], quantizer.round_trip(x[:, :, 2:3]))


def test_four_bits_take_half_a_byte_a_value() -> None:
    layer = IntegerCacheLayer(stored_by(KVQuantizer(args=TOKENWISE["4 bits, symmetric"])))
    x = torch.randn(1, 2, 10, 64)
    layer.update(x, x)
    scales = 2 * 2 * 10 * 4
    assert layer.num_bytes == 2 * x.numel() // 2 + scales
    assert all(stored["data"].dtype == torch.uint8 for stored in layer._stored or ())


def test_an_odd_head_does_not_fit_four_bits() -> None:
    with pytest.raises(QuantguardError, match="a head of 5 channels is odd"):
        KVQuantizer(args=TOKENWISE["4 bits, symmetric"]).store(torch.randn(1, 1, 1, 5))


@pytest.mark.parametrize("name", [*TOKENWISE, *STATIC])
def test_scoring_a_text_and_generating_it_see_the_same_cache(name: str) -> None:
    model = quantized({**TOKENWISE, **STATIC}[name])
    ids = torch.tensor(tokens())
    with torch.inference_mode():
        whole = model(ids, use_cache=False).logits[:, -1]
        cache = new_cache(model)
        assert all(isinstance(layer, IntegerCacheLayer) for layer in cache.layers)
        model(ids[:, :20], past_key_values=cache, use_cache=True)
        for position in range(20, ids.shape[1]):
            last = model(ids[:, position : position + 1], past_key_values=cache, use_cache=True).logits[:, -1]
        plain = model(ids[:, :-1], use_cache=True).past_key_values
        foreign = model(ids[:, -1:], past_key_values=plain).logits[:, -1]
    torch.testing.assert_close(last, whole, rtol=0, atol=1e-4)
    torch.testing.assert_close(foreign, whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", [*TOKENWISE, *STATIC])
def test_quantizing_the_cache_changes_the_logits_a_little_and_not_much(name: str) -> None:
    model, plain = quantized({**TOKENWISE, **STATIC}[name]), build("qwen3").model
    ids = torch.tensor(tokens())
    with torch.inference_mode():
        before, after = plain(ids).logits, model(ids).logits
    change = float((after - before).norm() / before.norm())
    assert 1e-6 < change < 0.6


def test_rows_and_tokens_can_be_dropped() -> None:
    quantizer = KVQuantizer(args=TOKENWISE["4 bits, asymmetric"])
    layer = IntegerCacheLayer(stored_by(quantizer))
    x = torch.randn(3, 2, 6, 8)
    layer.update(x[:, :, :5], x[:, :, :5])
    layer.crop(-1)
    layer.batch_select_indices(torch.tensor([2, 0]))
    keys, values = layer.update(x[[2, 0], :, 5:], x[[2, 0], :, 5:])
    expected = quantizer.round_trip(x[[2, 0]][:, :, [0, 1, 2, 3, 5]])
    assert torch.equal(keys, expected)
    assert torch.equal(values, expected)
    assert layer.get_seq_length() == 5


def test_static_scales_cover_what_calibration_showed() -> None:
    loaded = build("llama")
    decoder = find_decoder(loaded.model)
    calibration = BlockCalibration(decoder.blocks[0], embed(decoder, tokens()), loaded.model.config)
    extension = extend_attention(loaded.model.config, decoder.blocks[0])
    seen: list[torch.Tensor] = []
    keys, _ = calibration.keys_and_values(extension)
    extension.observer = lambda found, _values: seen.append(found)
    calibration.outputs()
    quantizer = static_kv_quantizer(keys, STATIC["8 bits per channel"])
    assert quantizer.scale is not None
    for found in seen:
        assert ((quantizer.round_trip(found) - found).abs() <= quantizer.scale * 1.01).all()


def test_without_a_scale_a_static_cache_is_refused() -> None:
    with pytest.raises(QuantguardError, match="fixed scales belong to 'channel' alone"):
        KVQuantizer(args=STATIC["8 bits per channel"])


def test_another_attention_implementation_is_refused() -> None:
    loaded = build("llama")
    loaded.model.config._attn_implementation = "eager"
    with pytest.raises(QuantguardError, match="attention is 'eager'"):
        extend_attention(loaded.model.config, find_decoder(loaded.model).blocks[0])


def test_a_recipe_asks_for_the_strategies_there_are() -> None:
    with pytest.raises(QuantguardError, match="kv_cache has strategy 'group'; possible: token"):
        Recipe(name="x", weights=LOOSE, kv_cache=dataclasses.replace(LOOSE, strategy="group", group_size=4))
