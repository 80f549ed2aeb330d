"""A decoder layer in float32 with other weights in the place of its own, for learning them."""

from typing import Any

import torch
from torch import nn


class FunctionalLayer(nn.Module):
    """A layer run with ``weights``, float32 by name; what they leave out is the layer's own, brought into float32."""

    def __init__(self, layer: nn.Module, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        own = {name: p.detach().float() for name, p in layer.named_parameters() if name not in weights}
        self._parts = (layer, own | weights)

    def forward(self, hidden: torch.Tensor, **beside: Any) -> Any:
        """Run on hidden states float32 ``[sequences, tokens, hidden_size]``."""
        layer, weights = self._parts
        return torch.func.functional_call(layer, weights, (hidden,), beside)
