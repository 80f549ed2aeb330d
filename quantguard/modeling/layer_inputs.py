"""What a model itself gives its decoder layers, seen without running them."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from quantguard.modeling.descriptions import BLOCKS, CORE

# What goes beside the hidden states; a layer that is given more is not supported.
BESIDE = ("attention_mask", "position_ids", "position_embeddings")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LayerCall:
    """One call of a layer: its index, the hidden states, and the keyword arguments that go beside."""

    index: int
    hidden: torch.Tensor
    beside: dict[str, Any]


class _StandIn(nn.Module):
    """Takes a layer's place, notes what it is given and hands on what ``answer`` makes of it."""

    def __init__(
        self, layer: nn.Module, index: int, calls: list[LayerCall], answer: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        super().__init__()
        # In a tuple it is no child, and stays where it is.
        self._of = (layer,)
        self._index, self._calls, self._answer = index, calls, answer

    def __getattr__(self, name: str) -> Any:
        """Give what the model asks its layers for."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["_of"][0], name)

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Note the call; arguments without a name go under their position."""
        beside = {str(position): value for position, value in enumerate(args)} | kwargs
        self._calls.append(LayerCall(index=self._index, hidden=hidden_states, beside=beside))
        return self._answer(hidden_states)


@contextlib.contextmanager
def recorded_layers(
    model: Any, answer: Callable[[torch.Tensor], torch.Tensor] = lambda hidden: hidden
) -> Iterator[Sequence[LayerCall]]:
    """Put stand-ins in the place of a model's layers while this lasts; what they were called with is collected."""
    layers, calls = model.get_submodule(BLOCKS), list[LayerCall]()
    stand_ins = (_StandIn(layer, index, calls, answer) for index, layer in enumerate(layers))
    model.set_submodule(BLOCKS, nn.ModuleList(stand_ins))
    try:
        yield calls
    finally:
        model.set_submodule(BLOCKS, layers)


@torch.no_grad()
def first_inputs(model: Any, token_ids: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
    """Return what the model gives its first layer for int64 ``[sequences, tokens]``, all of one length.

    Hidden states are float ``[sequences, tokens, hidden_size]``. What goes beside is that of one sequence, which fits
    any number of them. The layers need not hold weights.
    """
    with recorded_layers(model) as calls:
        core = model.get_submodule(CORE)
        core(input_ids=token_ids[:1], use_cache=False)
        beside = {name: calls[0].beside[name] for name in BESIDE}
        calls_before = len(calls)
        core(input_ids=token_ids, use_cache=False)
        return calls[calls_before].hidden, beside
