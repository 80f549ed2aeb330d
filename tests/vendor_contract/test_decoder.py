"""A whole quantized decoder, prompt token after prompt token, traced through the vendor's kernels without any data."""

import dataclasses
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from quantguard.errors import KernelError
from quantguard.kernels import resolve
from quantguard.kernels.ascend.emulation import enable
from quantguard.numerics import KVQuantizer, QuantTensor
from quantguard.records import QuantArgs
from quantguard.rounding import nearest
from tests.support.vendor_contract import genuine, without_our_checks

genuine()

BATCH, TOKENS, WIDTH, INNER, HEADS, KEY_HEADS, LAYERS = 2, 64, 512, 1024, 8, 4, 4
TOKENWISE = QuantArgs(num_bits=8, strategy="token", dynamic=True)
FOUR_BITS = QuantArgs(num_bits=4, strategy="token", dynamic=True)
CACHES = {
    "8 bits a token": QuantArgs(num_bits=8, strategy="token", dynamic=True, symmetric=False),
    "8 bits a channel": QuantArgs(num_bits=8, strategy="channel"),
    "4 bits a token": QuantArgs(num_bits=4, strategy="token", dynamic=True, symmetric=False),
}
KINDS = {
    "W8A8": ("int8_linear", QuantArgs(num_bits=8, strategy="channel")),
    "W8A8, fixed scales": ("static_int8_linear", QuantArgs(num_bits=8, strategy="channel")),
    "W4A8": ("int4_linear", QuantArgs(num_bits=4, strategy="channel")),
    "W4A8 in groups of 256": ("int4_linear", QuantArgs(num_bits=4, strategy="group", group_size=256)),
    "W4A4": ("w4a4_linear", QuantArgs(num_bits=4, strategy="channel")),
    "W4A16": ("weight_only_linear", QuantArgs(num_bits=4, strategy="group", group_size=128, symmetric=False)),
    "W8A16": ("weight_only_linear", QuantArgs(num_bits=8, strategy="channel")),
}


@dataclasses.dataclass
class Linear:
    op: str
    args: QuantArgs
    buffers: dict[str, torch.Tensor]
    bias: torch.Tensor

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        body: Any = resolve(self.op, "ascend")
        if self.op == "weight_only_linear":
            return body.apply(x, self.buffers, self.bias, args=self.args)  # type: ignore[no-any-return]
        if self.op == "static_int8_linear":
            fixed = QuantArgs(num_bits=8, strategy="tensor")
            q, _ = resolve("quantize_per_tensor", "ascend").apply(x, x.new_ones(1, 1, dtype=torch.float32), args=fixed)
            return body.apply(q, self.buffers, args=self.args, output_dtype=x.dtype)  # type: ignore[no-any-return]
        args = FOUR_BITS if self.op == "w4a4_linear" else TOKENWISE
        q, scale = resolve("quantize_per_token", "ascend").apply(x, args=args)
        return body.apply(q, scale, self.buffers, self.bias, args=self.args, output_dtype=x.dtype)  # type: ignore[no-any-return]


def linear(kind: str, outputs: int, inputs: int) -> Linear:
    enable()
    op, args = KINDS[kind]
    weight = nearest.quantize_weight(torch.randn(outputs, inputs), args, stats=None, options={})
    assert isinstance(weight, QuantTensor)
    body, bias = resolve(op, "ascend"), torch.randn(outputs)
    more = (torch.ones(1, 1), bias) if op == "static_int8_linear" else ()
    return Linear(op, args, body.pack(weight, *more), bias)


def layers(kind: str) -> list[dict[str, Linear]]:
    keys = WIDTH // HEADS * KEY_HEADS
    sizes = {
        "q": (WIDTH, WIDTH),
        "k": (keys, WIDTH),
        "v": (keys, WIDTH),
        "o": (WIDTH, WIDTH),
        "up": (INNER, WIDTH),
        "down": (WIDTH, INNER),
    }
    return [{name: linear(kind, *size) for name, size in sizes.items()} for _ in range(LAYERS)]


def as_fake(mode: FakeTensorMode, layer: dict[str, Linear]) -> dict[str, Linear]:
    fake = mode.from_tensor
    return {
        name: Linear(it.op, it.args, {key: fake(t) for key, t in it.buffers.items()}, fake(it.bias))
        for name, it in layer.items()
    }


def step(layer: dict[str, Linear], hidden: torch.Tensor, cache: QuantArgs) -> torch.Tensor:
    """Take one token of each sequence through a layer: rotate, store keys and values beside others, attend."""
    rotation = torch.eye(64, dtype=hidden.dtype)
    x = resolve("rotate", "ascend").apply(hidden, None, rotation)
    fused = resolve("rotate_quantize_per_token", "ascend")
    fused.apply(hidden, None, rotation, args=TOKENWISE)
    fused.apply(hidden, torch.eye(8, dtype=hidden.dtype), rotation, args=FOUR_BITS)
    query, keys, values = (layer[name](x).unflatten(-1, (-1, WIDTH // HEADS))[:, :, None] for name in "qkv")
    shape = (KEY_HEADS, 1, WIDTH // HEADS)
    quantizer = KVQuantizer(args=cache, scale=hidden.new_ones(shape).float() if cache.strategy == "channel" else None)
    body: Any = resolve("kv_cache", "ascend")
    stored = []
    for new in (keys, values):
        before = body.store(new.repeat(1, 1, TOKENS, 1), quantizer)
        stored.append({name: torch.cat((t, body.store(new, quantizer)[name]), dim=-2) for name, t in before.items()})
    if cache.num_bits == 8:
        mask = torch.zeros(BATCH, 1, 1, TOKENS + 1, dtype=torch.bool)
        attention: Any = resolve("kv_attention", "ascend")
        attended = attention.apply(query, tuple(stored), (quantizer,) * 2, mask, softmax_scale=0.125)
    else:
        restored = [body.restore(part, quantizer, output_dtype=hidden.dtype) for part in stored]
        k, v = (part.repeat_interleave(HEADS // KEY_HEADS, dim=1) for part in restored)
        attended = torch.nn.functional.scaled_dot_product_attention(query, k, v)
    hidden = hidden + layer["o"](attended.flatten(1))
    return hidden + layer["down"](torch.nn.functional.silu(layer["up"](hidden)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_decoder_is_accepted(kind: str, cache: str, dtype: torch.dtype) -> None:
    mode = FakeTensorMode()
    fakes = [as_fake(mode, layer) for layer in layers(kind)]
    with mode:
        hidden = torch.zeros(BATCH, WIDTH, dtype=dtype)
        for layer in fakes:
            hidden = step(layer, hidden, CACHES[cache])
    assert hidden.shape == (BATCH, WIDTH)
    assert hidden.dtype == dtype


@pytest.mark.parametrize(
    ("kind", "buffer", "change"),
    [
        pytest.param("W4A8", "scale", lambda t: t[:1], id="a group scale is missing"),
        pytest.param("W8A8", "data", lambda t: t[:, :-8], id="a weight has too few inputs"),
    ],
)
def test_a_planted_fault_in_a_layer_stops_the_trace(kind: str, buffer: str, change: Any) -> None:
    mode = FakeTensorMode()
    layer = as_fake(mode, layers(kind)[0])
    layer["down"].buffers[buffer] = change(layer["down"].buffers[buffer])
    with mode:
        hidden = torch.zeros(BATCH, WIDTH, dtype=torch.float16)
        with pytest.raises(KernelError):
            step(layer, hidden, CACHES["8 bits a token"])
        # The weight of W4A8 is padded to what is stored, so the missing scale is the first thing that shows.
        with without_our_checks(), pytest.raises((RuntimeError, KernelError)):
            step(layer, hidden, CACHES["8 bits a token"])
