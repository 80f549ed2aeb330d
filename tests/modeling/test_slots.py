"""Keys and values in slots: a row in company and out of order computes what it computes alone, in every family."""

from typing import Any

import pytest
import torch

from quantguard.kernels import kv_cache
from quantguard.modeling import find_decoder
from quantguard.modeling.kv_store import KVStore
from quantguard.modeling.slots import SlotCache, SlotLayer, Window, takes_slots
from quantguard.numerics import KVQuantizer
from quantguard.pipeline.quantizing import quantize_decoder
from quantguard.records import QuantArgs, Recipe
from tests.support.families import FAMILIES, build, tokens

EIGHT = QuantArgs(num_bits=8, strategy="token", dynamic=True)
LENGTHS = (9, 17, 12)


def mask(positions: torch.Tensor, num_visible: int) -> torch.Tensor:
    hidden = torch.arange(num_visible) > positions[:, None]
    return torch.zeros(hidden.shape, dtype=torch.float64).masked_fill_(hidden, -torch.inf)


def read(model: Any, cache: SlotCache, ids: list[int], slot: int) -> None:
    positions = torch.arange(len(ids))
    cache.window = Window(first=slot, last=slot + 1, positions=0, num_visible=len(ids))
    given = mask(positions, len(ids))[None, None]
    model.model(torch.tensor([ids]), attention_mask=given, position_ids=positions[None], past_key_values=cache)


def step(model: Any, cache: SlotCache, rows: list[list[int]]) -> torch.Tensor:
    positions = torch.tensor([len(row) - 1 for row in rows])
    num_visible = int(positions.max()) + 1
    cache.window = Window(first=0, last=len(rows), positions=positions, num_visible=num_visible)
    logits: torch.Tensor = model(
        torch.tensor([row[-1:] for row in rows]),
        attention_mask=mask(positions, num_visible)[:, None, None],
        position_ids=positions[:, None],
        past_key_values=cache,
    ).logits[:, -1]
    return logits


@pytest.mark.parametrize("kv", [None, EIGHT], ids=["float", "8 bits"])
@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_unlike_length_compute_what_each_computes_alone(family: str, kv: QuantArgs | None) -> None:
    loaded = build(family)
    model = loaded.model
    if kv is not None:
        recipe = Recipe(name="kv", weights=QuantArgs(num_bits=8, strategy="channel"), kv_cache=kv)
        quantize_decoder(
            find_decoder(model), recipe, tokens(), loaded.calibration, backend="reference", device_type="cpu"
        )
    assert takes_slots(model)
    rows = [ids[:length] for ids, length in zip(tokens(), LENGTHS, strict=True)]
    with torch.inference_mode():
        alone = torch.stack([model(torch.tensor([row]), use_cache=False).logits[0, -1] for row in rows])
        cache = SlotCache(model, num_slots=3, capacity=20)
        # What the slots hold before must not show.
        for slot, longer in enumerate(reversed(tokens())):
            read(model, cache, longer[:19], slot)
        read(model, cache, rows[2][:-1], 0)
        cache.copy(0, slice(2, 3), len(rows[2]) - 1)
        for slot in (0, 1):
            read(model, cache, rows[slot][:-1], slot)
        together = step(model, cache, rows)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4 if kv else 1e-10)


def test_slots_hold_integers() -> None:
    quantizer = KVQuantizer(args=QuantArgs(num_bits=4, strategy="token", dynamic=True))
    layer = SlotLayer(KVStore(quantizers=(quantizer, quantizer), cache=kv_cache), num_slots=2, capacity=10)
    x = torch.randn(1, 2, 6, 64)
    keys, values = layer.update(x, x, Window(first=1, last=2, positions=0, num_visible=6))
    assert torch.equal(keys, quantizer.round_trip(x))
    assert torch.equal(values, keys)
    one_slot = 2 * (2 * 10 * 64 // 2 + 2 * 10 * 4)
    assert layer.num_bytes == 2 * one_slot


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_attn_implementation", "eager"),
        ("layer_types", ["full_attention", "sliding_attention"]),
        ("rope_parameters", {"rope_type": "dynamic", "rope_theta": 10000.0}),
    ],
    ids=["attention without masks of ours", "sliding windows", "angles that depend on company"],
)
def test_what_slots_cannot_hold_is_told_by_its_structure(name: str, value: Any) -> None:
    model = build("llama").model
    assert takes_slots(model)
    object.__setattr__(model.config, name, value)
    assert not takes_slots(model)


@pytest.mark.parametrize("part", ["sinks", "sliding_window"])
def test_attention_with_parts_of_its_own_takes_no_slots(part: str) -> None:
    model = build("llama").model
    setattr(model.model.layers[1].self_attn, part, 7)
    assert not takes_slots(model)
