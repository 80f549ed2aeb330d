"""A copy of a model that computes as the model does and holds none of its weights: small random ones stand in."""

import copy
from typing import Any

import torch
from torch import nn

from quantguard.modeling.descriptions import EMBEDDING, HEAD

# Token ids below this are in the table that stands in for the embedding's.
NUM_TOKENS = 8
_RANK = 16


class LinearStandIn(nn.Module):
    """A linear map of low rank in the place of a linear, which notes what it was given and returned.

    first: float32 ``[in_features, rank]``, mixing: ``[rank, rank]``, last: ``[rank, out_features]``. Those of one size
    share the outer two.
    """

    def __init__(self, first: torch.Tensor, mixing: torch.Tensor, last: torch.Tensor, *, has_bias: bool) -> None:
        super().__init__()
        self.in_features, self.out_features = len(first), last.shape[1]
        # Some modules ask their linears for the type of the weight.
        self.weight = mixing
        self.bias = last[0] if has_bias else None
        self._outer = (first, last)
        # Large outputs show what clips them, and small ones what bends them.
        self.gain = 1.0
        self.calls: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map float32 ``[..., in_features]`` to ``[..., out_features]``."""
        first, last = self._outer
        y: torch.Tensor = self.gain * (x @ first @ self.weight @ last)
        y = y if self.bias is None else y + self.bias
        self.calls.append((x, y))
        return y


class Materials:
    """Random float32 numbers for stand-ins, on the CPU."""

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(0)
        self._outer: dict[tuple[str, int], torch.Tensor] = {}

    def normal(self, *shape: int) -> torch.Tensor:
        """Draw from the standard normal distribution."""
        return torch.randn(shape, generator=self._generator)

    def linear(self, linear: nn.Linear) -> LinearStandIn:
        """Stand in for a linear of this shape, by another map for each."""
        first = self._outer_factor("in", linear.in_features, scale=linear.in_features**-0.5)
        last = self._outer_factor("out", linear.out_features, scale=_RANK**-0.5).t()
        mixing = self.normal(_RANK, _RANK) / _RANK**0.5
        return LinearStandIn(first, mixing, last, has_bias=linear.bias is not None)

    def _outer_factor(self, side: str, size: int, *, scale: float) -> torch.Tensor:
        if (side, size) not in self._outer:
            self._outer[side, size] = self.normal(size, _RANK) * scale
        return self._outer[side, size]

    def scale(self, parameter: torch.Tensor) -> nn.Parameter:
        """Stand in for the scales of a norm: between 0.5 and 1.5."""
        drawn = torch.rand(parameter.shape, generator=self._generator) + 0.5
        return nn.Parameter(drawn, requires_grad=False)


def hollow_copy(model: Any, materials: Materials) -> Any:
    """Copy modules, configuration and code, with stand-ins for all weights; float32 on the CPU.

    Buffers keep their values.
    """
    # Keyed by identity, as deepcopy looks up what it has copied already.
    standing: dict[int, Any] = {}
    table, head = model.get_submodule(EMBEDDING), model.get_submodule(HEAD)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            standing[id(module)] = materials.linear(module)
        elif module is not table:
            standing |= {id(parameter): materials.scale(parameter) for parameter in module.parameters(recurse=False)}
    small = nn.Linear(head.in_features, NUM_TOKENS, bias=head.bias is not None, device="meta")
    standing[id(head)] = materials.linear(small)
    standing[id(table.weight)] = nn.Parameter(materials.normal(NUM_TOKENS, table.embedding_dim), requires_grad=False)
    for buffer in model.buffers():
        floating = buffer.is_floating_point()
        standing[id(buffer)] = buffer.detach().to("cpu", torch.float32 if floating else buffer.dtype)
    hollow = copy.deepcopy(model, standing)
    hollow.get_submodule(EMBEDDING).padding_idx = None
    hollow.config.dtype = torch.float32
    return hollow.eval()
