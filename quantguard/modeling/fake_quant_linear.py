"""A layer for codes that no kernel runs on: it multiplies with the floats that they stand for."""

import torch
from torch import nn

from quantguard.numerics import FakeQuantTensor


class FakeQuantLinear(nn.Module):
    """A linear layer on the floats that its codes stand for: what a code book costs in accuracy, not in time."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __init__(
        self,
        weight: FakeQuantTensor,
        bias: torch.Tensor | None,
        *,
        dtype: torch.dtype,
        input_transform: nn.Module | None,
    ) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.weight.shape
        self.args = weight.args
        self.kernels = {f"{weight.args.type}_linear": "fake quantization"}
        self.input_transform = input_transform
        self.register_buffer("weight", weight.weight.to(dtype))
        self.register_buffer("bias", None if bias is None else bias.detach().to(dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to float ``[..., in_features]``; returns the same type, ``[..., out_features]``."""
        if self.input_transform is not None:
            x = self.input_transform(x)
        return nn.functional.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Show the sizes and the code when the model is printed."""
        code = f"{self.args.type} {self.args.num_bits} bits, fake-quantized"
        return f"in_features={self.in_features}, out_features={self.out_features}, {code}"
