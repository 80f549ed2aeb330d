"""Keys and values of many sequences side by side, each in a slot of its own, written in place from position 0 on."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from quantguard.modeling.integer_cache import kv_store
from quantguard.modeling.kv_store import KVStore
from quantguard.modeling.structure import window_of

_ATTENTION = ("sdpa", "quantguard_sdpa")
_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
# These compute their angles from the longest sequence in the batch.
_UNSTEADY_ROPE = ("dynamic", "longrope")
# Keys or values that are dequantized in one go: as floats they stay in a core's cache until that is done.
_RESTORED_AT_ONCE = 1 << 17


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What one forward pass writes and sees: the slots from ``first`` to ``last``, their first ``num_visible`` tokens.

    ``positions`` is where the new tokens go: a number, from which all slots take theirs in a row, or int64 ``[slots]``,
    a place in each for its one token.
    """

    first: int
    last: int
    positions: int | torch.Tensor
    num_visible: int


class SlotLayer:
    """The slots of one decoder layer; with a store they hold integers and scales, as an IntegerCacheLayer does."""

    def __init__(self, store: KVStore | None, *, num_slots: int, capacity: int) -> None:
        self._kv_store = store
        self._shape = num_slots, capacity
        self._buffers: tuple[dict[str, torch.Tensor], ...] = ()

    @property
    def stores_integers(self) -> bool:
        """Tell whether keys and values are quantized here."""
        return self._kv_store is not None

    @property
    def num_bytes(self) -> int:
        """What the buffers take."""
        return sum(t.numel() * t.element_size() for stored in self._buffers for t in stored.values())

    def update(self, keys: torch.Tensor, values: torch.Tensor, window: Window) -> Any:
        """Store float ``[slots, heads, tokens, head_dim]``; return what the window sees, to be attended to.

        That is keys and values in the same type, or what stands for them where a kernel attends to the integers.
        """
        new = self._store(keys, values)
        if not self._buffers:
            self._buffers = tuple({name: self._allocate(t) for name, t in stored.items()} for stored in new)
        for buffers, stored in zip(self._buffers, new, strict=True):
            for name, tensor in stored.items():
                _write(buffers[name], tensor, window)
        seen = [
            {name: t[window.first : window.last, :, : window.num_visible] for name, t in buffers.items()}
            for buffers in self._buffers
        ]
        if self._kv_store is not None and self._kv_store.attends(keys.shape[-2]):
            return self._kv_store.handles((seen[0], seen[1]))
        return self._restore(seen[0], 0, keys.dtype), self._restore(seen[1], 1, keys.dtype)

    def copy(self, source: int, target: slice, num_tokens: int) -> None:
        """Copy the first tokens of a slot to others."""
        for buffers in self._buffers:
            for tensor in buffers.values():
                tensor[target, :, :num_tokens] = tensor[source, :, :num_tokens]

    def _store(self, keys: torch.Tensor, values: torch.Tensor) -> tuple[dict[str, torch.Tensor], ...]:
        if self._kv_store is None:
            return {"data": keys}, {"data": values}
        return self._kv_store.store(keys, values)

    def _restore(self, stored: dict[str, torch.Tensor], index: int, dtype: torch.dtype) -> torch.Tensor:
        if self._kv_store is None:
            return stored["data"]
        num_slots = len(stored["data"])
        step = max(1, _RESTORED_AT_ONCE * num_slots // stored["data"].numel())
        parts = [
            self._kv_store.restore_part({name: t[start : start + step] for name, t in stored.items()}, index, dtype)
            for start in range(0, num_slots, step)
        ]
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _allocate(self, like: torch.Tensor) -> torch.Tensor:
        # Zeros: attention gives what it does not see the weight 0, and 0 times the NaN of raw memory would be NaN.
        shape = (self._shape[0], like.shape[1], self._shape[1], like.shape[3])
        if like.device.type != "cpu":
            return like.new_zeros(shape)
        # NumPy asks the system for zeros, which take memory only where something is written.
        raw = np.zeros(math.prod(shape) * like.element_size(), np.uint8)
        return torch.from_numpy(raw).view(like.dtype).view(shape)


def _write(buffer: torch.Tensor, new: torch.Tensor, window: Window) -> None:
    if isinstance(window.positions, int):
        stop = window.positions + new.shape[2]
        buffer[window.first : window.last, :, window.positions : stop] = new
        return
    slots = torch.arange(window.first, window.last, device=buffer.device)
    buffer[slots, :, window.positions] = new[:, :, 0]


class SlotCache:
    """What a transformers model takes for its cache: ``window`` says where the next forward pass writes."""

    window: Window

    def __init__(self, model: Any, *, num_slots: int, capacity: int) -> None:
        self.layers = [
            SlotLayer(kv_store(layer.self_attn), num_slots=num_slots, capacity=capacity) for layer in model.model.layers
        ]

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *_args: Any, **_kwargs: Any) -> Any:
        """Store the keys and values of a layer; return those to attend to."""
        return self.layers[layer_idx].update(keys, values, self.window)

    def copy(self, source: int, target: slice, num_tokens: int) -> None:
        """Copy the first tokens of a slot to others, in every layer."""
        for layer in self.layers:
            layer.copy(source, target, num_tokens)


def takes_slots(model: Any) -> bool:
    """Tell whether a model's attention can read slots.

    It is known by its parts, looks at all keys that its cache returns, and takes a mask that is made for it.
    """
    config, layers = model.config, getattr(getattr(model, "model", None), "layers", ())
    rope = getattr(config, "rope_parameters", None) or {}
    facts: tuple[Callable[[], bool], ...] = (
        lambda: config._attn_implementation in _ATTENTION,  # noqa: SLF001 - transformers has no public getter
        lambda: _sees_everything(config) and rope.get("rope_type") not in _UNSTEADY_ROPE,
        lambda: bool(layers) and all(_is_plain(layer, index) for index, layer in enumerate(layers)),
    )
    return all(fact() for fact in facts)


def _sees_everything(config: Any) -> bool:
    kinds = set(getattr(config, "layer_types", None) or ())
    return kinds <= {"full_attention"} and window_of(config) is None


def _is_plain(layer: Any, index: int) -> bool:
    attention = getattr(layer, "self_attn", None)
    return (
        all(hasattr(attention, part) for part in _PROJECTIONS)
        and getattr(attention, "layer_idx", None) == index
        and getattr(attention, "sliding_window", None) is None
        and getattr(attention, "sinks", None) is None
    )
