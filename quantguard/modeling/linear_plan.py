"""How a quantized linear runs: the operations it is made of, chosen once for a backend and a device."""

import dataclasses
import types
from collections.abc import Callable
from typing import Literal

import torch

from quantguard.kernels import choose_backend, has_own, own_body, resolve
from quantguard.records import QuantArgs, RotationArgs

Kind = Literal["weight_only", "dynamic", "rotated", "fused", "static"]
QuantizeAndApply = Callable[..., torch.Tensor]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LinearPlan:
    """What a quantized linear calls, and on which backend.

    Attributes:
        kind: ``weight_only`` multiplies floats; ``dynamic`` quantizes each token, then multiplies; ``rotated`` rotates
            and quantizes in one operation, then multiplies; ``fused`` quantizes and multiplies in one call; ``static``
            quantizes with fixed scales, then multiplies.
        kernels: the backend of each operation.
        linear: the body of the product.
        quantize: the body of the quantization; None for ``weight_only`` and ``fused``.
        quantize_and_apply: the one call of ``fused``; None for the others.
        joins_scales: whether the fixed scale of static activations is part of the packed weight.

    """

    kind: Kind
    kernels: dict[str, str]
    linear: types.ModuleType
    quantize: types.ModuleType | None = None
    quantize_and_apply: QuantizeAndApply | None = None
    joins_scales: bool = False


def plan_linear(
    weights: QuantArgs,
    activations: QuantArgs | None,
    *,
    rotation: RotationArgs | None = None,
    backend: str,
    device_type: str,
) -> LinearPlan:
    """Choose the operations of a linear; ``rotation`` is that of its input where it may be fused with quantization.

    Raises KernelError naming the operation that the backend lacks, or cannot do with such settings.
    """
    if activations is None:
        chosen = choose_backend("weight_only_linear", weights, requested=backend, device_type=device_type)
        kernels = {"weight_only_linear": chosen}
        return LinearPlan(kind="weight_only", kernels=kernels, linear=resolve("weight_only_linear", chosen))
    op = "int4_linear" if weights.num_bits <= 4 else "int8_linear"
    chosen = choose_backend(op, weights, requested=backend, device_type=device_type)
    if activations.dynamic:
        return _dynamic(op, chosen, (weights, activations), rotation, device_type)
    return _static(op, chosen, weights, activations, device_type)


def fuses_rotation(
    weights: QuantArgs, activations: QuantArgs | None, rotation: RotationArgs, *, backend: str, device_type: str
) -> bool:
    """Tell whether a linear would rotate its input and quantize it in one operation."""
    plan = plan_linear(weights, activations, rotation=rotation, backend=backend, device_type=device_type)
    return plan.kind == "rotated"


def _dynamic(
    op: str,
    backend: str,
    settings: tuple[QuantArgs, QuantArgs],
    rotation: RotationArgs | None,
    device_type: str,
) -> LinearPlan:
    weights, activations = settings
    # A backend with a product of its own for four bits packs such activations, and no other product reads them.
    if activations.num_bits <= 4 and has_own("w4a4_linear", backend):
        op = "w4a4_linear"
        choose_backend(op, weights, requested=backend, device_type=device_type)
    linear = resolve(op, backend)
    if rotation is not None:
        rotation = dataclasses.replace(rotation, activations=activations)
        body = own_body("rotate_quantize_per_token", rotation, backend)
        if body is not None:
            kernels = {op: backend, "rotate_quantize_per_token": backend}
            return LinearPlan(kind="rotated", kernels=kernels, linear=linear, quantize=body)
    choose_backend("quantize_per_token", activations, requested=backend, device_type=device_type)
    kernels = {op: backend, "quantize_per_token": backend}
    # A backend may quantize and multiply in one call, to the same bits.
    fused: QuantizeAndApply | None = getattr(linear, "quantize_and_apply", None)
    if fused is not None:
        return LinearPlan(kind="fused", kernels=kernels, linear=linear, quantize_and_apply=fused)
    quantize = resolve("quantize_per_token", backend)
    return LinearPlan(kind="dynamic", kernels=kernels, linear=linear, quantize=quantize)


def _static(op: str, backend: str, weights: QuantArgs, activations: QuantArgs, device_type: str) -> LinearPlan:
    quantize_op = f"quantize_per_{activations.strategy}"
    choose_backend(quantize_op, activations, requested=backend, device_type=device_type)
    joined = own_body("static_int8_linear", weights, backend) if op == "int8_linear" else None
    if joined is not None:
        op = "static_int8_linear"
    return LinearPlan(
        kind="static",
        kernels={op: backend, quantize_op: backend},
        linear=joined or resolve(op, backend),
        quantize=resolve(quantize_op, backend),
        joins_scales=joined is not None,
    )
