"""The layer that takes a Linear's place: integer weights on a kernel backend."""

import types

import torch
from torch import nn

from quantguard.kernels import choose_backend, resolve
from quantguard.numerics import QuantTensor
from quantguard.records import QuantArgs


class QuantLinear(nn.Module):
    """A linear layer on quantized weights; its kernels are chosen once, when it is built.

    ``kernels`` maps each op that it calls to the backend that runs it.
    """

    def __init__(
        self,
        weight: QuantTensor,
        bias: torch.Tensor | None,
        *,
        input_activations: QuantArgs | None,
        backend: str,
        device_type: str,
    ) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.data.shape
        self.args = weight.args
        self.input_activations = input_activations
        self._op = _linear_op(weight.args, input_activations)
        chosen = choose_backend(self._op, weight.args, requested=backend, device_type=device_type)
        self.kernels = {self._op: chosen}
        self._linear = resolve(self._op, chosen)
        self._quantize: types.ModuleType | None = None
        if input_activations is not None:
            self.kernels["quantize_per_token"] = chosen
            self._quantize = resolve("quantize_per_token", chosen)
        self._names = []
        for name, buffer in self._linear.pack(weight).items():
            self.register_buffer(f"weight_{name}", buffer)
            self._names.append(name)
        self.register_buffer("bias", None if bias is None else bias.detach().float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to float ``[..., in_features]``; returns the same type, ``[..., out_features]``."""
        tokens = x.reshape(-1, self.in_features)
        weight = {name: getattr(self, f"weight_{name}") for name in self._names}
        if self._quantize is None:
            y = self._linear.apply(tokens, weight, self.bias, args=self.args)
        else:
            assert self.input_activations is not None
            q, scale = self._quantize.apply(tokens, num_bits=self.input_activations.num_bits)
            y = self._linear.apply(q, scale, weight, self.bias, args=self.args, output_dtype=x.dtype)
        return y.reshape(*x.shape[:-1], self.out_features)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """Show the sizes, bits and kernels when the model is printed."""
        bits = f"W{self.args.num_bits}A{self.input_activations.num_bits if self.input_activations else 16}"
        return f"in_features={self.in_features}, out_features={self.out_features}, {bits}, kernels={self.kernels}"


def _linear_op(weights: QuantArgs, input_activations: QuantArgs | None) -> str:
    if input_activations is None:
        return "weight_only_linear"
    return "int4_linear" if weights.num_bits <= 4 else "int8_linear"
