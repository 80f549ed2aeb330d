"""The layer that takes a Linear's place: integer weights on a kernel backend."""

import types
from collections.abc import Callable

import torch
from torch import nn

from quantguard.errors import KernelError, RecipeError
from quantguard.kernels import choose_backend, has_own_static, resolve
from quantguard.numerics import FakeQuantTensor, QuantTensor
from quantguard.records import QuantArgs


class QuantLinear(nn.Module):
    """A linear layer on quantized weights; its kernels are chosen once, when it is built.

    ``kernels`` maps each op that it calls to the backend that runs it. ``input_transform`` works on the input before
    it is quantized; ``input_scale``, float32 ``[1, 1]``, is the fixed scale of static activations, and
    ``input_zero_point``, int32 ``[1, 1]``, their zero point where they are asymmetric: ``bias`` then holds what the
    zero point adds to every product, ``-scale * zero_point * sum_in(weight)``, as well. Column ``i`` of the weight
    takes input ``input_permutation[i]``, int64 ``[in_features]``, of what the transform gives: where act-order rounding
    spread the scale groups over the inputs, those of the weight in that order are contiguous.
    """

    input_scale: torch.Tensor | None
    input_zero_point: torch.Tensor | None
    input_permutation: torch.Tensor | None
    bias: torch.Tensor | None

    def __init__(
        self,
        weight: QuantTensor,
        bias: torch.Tensor | None,
        *,
        input_activations: QuantArgs | None,
        backend: str,
        device_type: str,
        input_scale: torch.Tensor | None = None,
        input_zero_point: torch.Tensor | None = None,
        input_transform: nn.Module | None = None,
        input_permutation: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.data.shape
        self.args = weight.args
        self.input_activations = input_activations
        self._op = _linear_op(weight.args, input_activations)
        chosen = choose_backend(self._op, weight.args, requested=backend, device_type=device_type)
        self._fixes_scales = self._op == "int8_linear" and input_scale is not None and has_own_static(chosen)
        if self._fixes_scales:
            self._op = "static_int8_linear"
        self.kernels = {self._op: chosen}
        self._linear = resolve(self._op, chosen)
        self._quantize: types.ModuleType | None = None
        self._quantize_and_apply: Callable[..., torch.Tensor] | None = None
        if input_activations is not None:
            op = f"quantize_per_{input_activations.strategy}"
            self.kernels[op] = chosen
            self._quantize = resolve(op, chosen)
            # A backend may quantize and multiply in one call, to the same bits.
            if op == "quantize_per_token":
                self._quantize_and_apply = getattr(self._linear, "quantize_and_apply", None)
        if (input_activations is not None and not input_activations.dynamic) != (input_scale is not None):
            raise RecipeError("static activations need a scale from calibration, and only they take one")
        self._require_asymmetric(chosen, input_zero_point)
        self.input_transform = input_transform
        self.register_buffer("input_scale", input_scale)
        self.register_buffer("input_zero_point", input_zero_point)
        self.register_buffer("input_permutation", input_permutation)
        packed = self._linear.pack(weight, input_scale, bias) if self._fixes_scales else self._linear.pack(weight)
        self._names = tuple(packed)
        for name, buffer in packed.items():
            self.register_buffer(f"weight_{name}", buffer)
        self.register_buffer("bias", None if bias is None else bias.detach().float())

    def _require_asymmetric(self, backend: str, zero_point: torch.Tensor | None) -> None:
        """Hold settings, zero point and backend together."""
        asymmetric = self.input_activations is not None and not self.input_activations.symmetric
        if asymmetric != (zero_point is not None):
            raise RecipeError("a zero point belongs to asymmetric static activations, and only to them")
        if asymmetric and not hasattr(self._quantize, "apply_asymmetric"):
            raise KernelError(
                f"the {backend!r} backend takes static activations without a zero point, and this layer's have one;"
                " load the model on the CPU with backend='cpu' or 'reference'"
            )

    @property
    def packed_names(self) -> tuple[str, ...]:
        """The buffers that hold the weight in the layout of the kernel."""
        return tuple(f"weight_{name}" for name in self._names)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to float ``[..., in_features]``; returns the same type, ``[..., out_features]``."""
        if self.input_transform is not None:
            x = self.input_transform(x)
        if self.input_permutation is not None:
            x = x[..., self.input_permutation]
        tokens = x.reshape(-1, self.in_features)
        weight = {name: getattr(self, f"weight_{name}") for name in self._names}
        if self._quantize is None:
            y: torch.Tensor = self._linear.apply(tokens, weight, self.bias, args=self.args)
        elif self._quantize_and_apply is not None:
            given = {"args": self.args, "input_args": self.input_activations}
            y = self._quantize_and_apply(tokens, weight, self.bias, **given)
        else:
            assert self.input_activations is not None
            fixed = () if self.input_scale is None else (self.input_scale,)
            if self.input_zero_point is None:
                q, scale = self._quantize.apply(tokens, *fixed, args=self.input_activations)
            else:
                q, scale = self._quantize.apply_asymmetric(
                    tokens, *fixed, self.input_zero_point, args=self.input_activations
                )
            factors = (q, weight) if self._fixes_scales else (q, scale, weight, self.bias)
            y = self._linear.apply(*factors, args=self.args, output_dtype=x.dtype)
        return y.reshape(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        """Show the sizes, bits and kernels when the model is printed."""
        bits = f"W{self.args.num_bits}A{self.input_activations.num_bits if self.input_activations else 16}"
        return f"in_features={self.in_features}, out_features={self.out_features}, {bits}, kernels={self.kernels}"


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


def _linear_op(weights: QuantArgs, input_activations: QuantArgs | None) -> str:
    if input_activations is None:
        return "weight_only_linear"
    return "int4_linear" if weights.num_bits <= 4 else "int8_linear"
