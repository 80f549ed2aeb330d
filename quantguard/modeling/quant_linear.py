"""The layer that takes a Linear's place: integer weights on a kernel backend."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from quantguard.errors import RecipeError
from quantguard.modeling.linear_plan import plan_linear
from quantguard.modeling.online import KroneckerTransform
from quantguard.numerics import QuantTensor
from quantguard.records import QuantArgs


class QuantLinear(nn.Module):
    """A linear layer on quantized weights; what it runs is planned once, when it is built.

    ``kernels`` maps each op that it calls to the backend that runs it. ``input_transform`` works on the input before
    it is quantized, and so does ``shared_transform``, which belongs to the norm that the layer reads and is left to the
    layer, because its backend rotates and quantizes in one. ``input_scale``, float32 ``[1, 1]``, is the fixed scale of
    static activations, and ``input_zero_point``, int32 ``[1, 1]``, their zero point where they are asymmetric: ``bias``
    then holds what the zero point adds to every product, ``-scale * zero_point * sum_in(weight)``, as well. Column
    ``i`` of the weight takes input ``input_permutation[i]``, int64 ``[in_features]``, of what the transform gives:
    where act-order rounding spread the scale groups over the inputs, those of the weight in that order are contiguous.
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
        shared_transform: KroneckerTransform | None = None,
        input_permutation: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.data.shape
        self.args = weight.args
        self.input_activations = input_activations
        _require_static_parts(input_activations, input_scale, input_zero_point)
        transform = shared_transform or input_transform
        # A permutation comes between the two, so that they cannot be one.
        rotation = None
        if isinstance(transform, KroneckerTransform) and input_permutation is None:
            rotation = transform.rotation(self.in_features)
        self.plan = plan_linear(
            weight.args, input_activations, rotation=rotation, backend=backend, device_type=device_type
        )
        self._run = _RUN[self.plan.kind]
        self.input_transform = input_transform
        # In a tuple, so that a transform of the norm stays a part of that alone.
        self._rotated_by: tuple[Any, ...] = (transform,) if self.plan.kind == "rotated" else ()
        self.register_buffer("input_scale", input_scale)
        self.register_buffer("input_zero_point", input_zero_point)
        self.register_buffer("input_permutation", input_permutation)
        joined = (input_scale, bias) if self.plan.joins_scales else ()
        packed = self.plan.linear.pack(weight, *joined)
        self._packed_as = {name: f"weight_{name}" for name in packed}
        for name, buffer in packed.items():
            self.register_buffer(self._packed_as[name], buffer)
        self.register_buffer("bias", None if bias is None else bias.detach().float())

    @property
    def kernels(self) -> dict[str, str]:
        """The backend of each op that it calls."""
        return self.plan.kernels

    @property
    def packed_names(self) -> tuple[str, ...]:
        """The buffers that hold the weight in the layout of the kernel."""
        return tuple(self._packed_as.values())

    @property
    def packed(self) -> dict[str, torch.Tensor]:
        """The weight in the layout of the kernel."""
        return {name: self._buffers[registered] for name, registered in self._packed_as.items()}  # type: ignore[misc]

    @property
    def rotation(self) -> Any:
        """The transform whose rotation is one operation with quantization here."""
        return self._rotated_by[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to float ``[..., in_features]``; returns the same type, ``[..., out_features]``."""
        if self.input_transform is not None and not self._rotated_by:
            x = self.input_transform(x)
        if self.input_permutation is not None:
            x = x[..., self.input_permutation]
        y = self._run(self, x.reshape(-1, self.in_features))
        return y.reshape(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        """Show the sizes, bits and kernels when the model is printed."""
        bits = f"W{self.args.num_bits}A{self.input_activations.num_bits if self.input_activations else 16}"
        return f"in_features={self.in_features}, out_features={self.out_features}, {bits}, kernels={self.kernels}"


def _require_static_parts(
    activations: QuantArgs | None, scale: torch.Tensor | None, zero_point: torch.Tensor | None
) -> None:
    """Hold settings, fixed scale and zero point together."""
    if (activations is not None and not activations.dynamic) != (scale is not None):
        raise RecipeError("static activations need a scale from calibration, and only they take one")
    if (activations is not None and not activations.symmetric) != (zero_point is not None):
        raise RecipeError("a zero point belongs to asymmetric static activations, and only to them")


def _weight_only(layer: QuantLinear, x: torch.Tensor) -> torch.Tensor:
    y: torch.Tensor = layer.plan.linear.apply(x, layer.packed, layer.bias, args=layer.args)
    return y


def _fused(layer: QuantLinear, x: torch.Tensor) -> torch.Tensor:
    assert layer.plan.quantize_and_apply is not None
    settings = {"args": layer.args, "input_args": layer.input_activations}
    return layer.plan.quantize_and_apply(x, layer.packed, layer.bias, **settings)


def _dynamic(layer: QuantLinear, x: torch.Tensor) -> torch.Tensor:
    assert layer.plan.quantize is not None
    q, scale = layer.plan.quantize.apply(x, args=layer.input_activations)
    return _multiply(layer, q, scale, x.dtype)


def _rotated(layer: QuantLinear, x: torch.Tensor) -> torch.Tensor:
    assert layer.plan.quantize is not None
    left, right = layer.rotation.left, layer.rotation.right
    q, scale = layer.plan.quantize.apply(x, left, right, args=layer.input_activations)
    return _multiply(layer, q, scale, x.dtype)


def _static(layer: QuantLinear, x: torch.Tensor) -> torch.Tensor:
    assert layer.plan.quantize is not None
    if layer.input_zero_point is None:
        q, scale = layer.plan.quantize.apply(x, layer.input_scale, args=layer.input_activations)
    else:
        fixed = layer.input_scale, layer.input_zero_point
        q, scale = layer.plan.quantize.apply_asymmetric(x, *fixed, args=layer.input_activations)
    if not layer.plan.joins_scales:
        return _multiply(layer, q, scale, x.dtype)
    y: torch.Tensor = layer.plan.linear.apply(q, layer.packed, args=layer.args, output_dtype=x.dtype)
    return y


def _multiply(layer: QuantLinear, q: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    y: torch.Tensor = layer.plan.linear.apply(q, scale, layer.packed, layer.bias, args=layer.args, output_dtype=dtype)
    return y


_RUN: dict[str, Callable[[QuantLinear, torch.Tensor], torch.Tensor]] = {
    "weight_only": _weight_only,
    "dynamic": _dynamic,
    "rotated": _rotated,
    "fused": _fused,
    "static": _static,
}
