"""A whole quantized decoder, prompt token after prompt token, traced through the vendor's kernels without any data."""

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from quantguard.errors import KernelError
from quantguard.kernels import resolve
from quantguard.kernels.ascend.emulation import enable
from quantguard.numerics import QuantTensor
from quantguard.records import QuantArgs
from quantguard.rounding import nearest
from tests.support.vendor_contract import genuine, without_our_checks

genuine()

BATCH, TOKENS, WIDTH, INNER, HEADS, KEY_HEADS, LAYERS = 2, 64, 512, 1024, 8, 4, 4
TOKENWISE = QuantArgs(num_bits=8, strategy="token", dynamic=True)
KINDS = {
    "W8A8": ("int8_linear", QuantArgs(num_bits=8, strategy="channel")),
    "W8A8, fixed scales": ("static_int8_linear", QuantArgs(num_bits=8, strategy="channel")),
    "W4A8": ("int4_linear", QuantArgs(num_bits=4, strategy="channel")),
    "W4A8 in groups of 256": ("int4_linear", QuantArgs(num_bits=4, strategy="group", group_size=256)),
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
        q, scale = resolve("quantize_per_token", "ascend").apply(x, args=TOKENWISE)
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


def step(layer: dict[str, Linear], hidden: torch.Tensor, position: int) -> torch.Tensor:
    """Take one token of each sequence through a layer: rotate, write keys and values to an int8 cache, attend."""
    keys = layer["k"].bias.shape[0]
    rotation = torch.eye(64, dtype=hidden.dtype)
    x = resolve("rotate", "ascend").apply(hidden, None, rotation)
    resolve("rotate_quantize_per_token", "ascend").apply(hidden, None, rotation, args=TOKENWISE)
    query, new = layer["q"](x), (layer["k"](x), layer["v"](x))
    caches = tuple(torch.zeros(BATCH, TOKENS, keys, dtype=torch.int8) for _ in new)
    scales = (torch.ones(keys), torch.ones(keys))
    positions = torch.full((BATCH,), position, dtype=torch.int32)
    for cache, tensor, scale in zip(caches, new, scales, strict=True):
        resolve("kv_cache_write", "ascend").apply(cache, positions, tensor[:, None], scale)
    attended = resolve("kv_attention", "ascend").apply(
        query[:, None],
        caches,
        scales,
        [position + 1] * BATCH,
        num_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        softmax_scale=0.125,
    )
    hidden = hidden + layer["o"](attended[:, 0])
    return hidden + layer["down"](torch.nn.functional.silu(layer["up"](hidden)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_decoder_is_accepted(kind: str, dtype: torch.dtype) -> None:
    mode = FakeTensorMode()
    fakes = [as_fake(mode, layer) for layer in layers(kind)]
    with mode:
        hidden = torch.zeros(BATCH, WIDTH, dtype=dtype)
        for layer, position in itertools.product(fakes, (0, 7)):
            hidden = step(layer, hidden, position)
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
            step(layer, hidden, 0)
        # The weight of W4A8 is padded to what is stored, so the missing scale is the first thing that shows.
        with without_our_checks(), pytest.raises((RuntimeError, KernelError)):
            step(layer, hidden, 0)
