"""The precision that is computed in: of matrix products alone, of a whole block between its ends, or of weights."""

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import nn

from quantguard.modeling.block import Block

Precision = Literal["float32", "bfloat16"]


@contextlib.contextmanager
def matmul_precision(precision: Precision) -> Iterator[None]:
    """Let oneDNN take the float32 inputs of matrix products in ``precision``; sums and results are float32."""
    settings: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined, unused-ignore]
    before = settings.fp32_precision
    settings.fp32_precision = {"bfloat16": "bf16", "float32": "ieee"}[precision]
    try:
        yield
    finally:
        settings.fp32_precision = before


@contextlib.contextmanager
def wide_parameters(*modules: nn.Module) -> Iterator[torch.dtype | None]:
    """Hold the 16-bit parameters of modules in float32 and give them their type back; what is shared stays shared.

    Comes with the type that they are stored in, or None where there are no such ones. A parameter that is made within
    is given that type. Buffers stay as they are: what runs online is stored in float32 whatever the model's type is.
    """
    types = {id(p): p.dtype for p in _parameters(modules)}
    narrow = next((dtype for dtype in types.values() if dtype.itemsize < torch.float32.itemsize), None)
    for parameter in _parameters(modules):
        if parameter.dtype == narrow:
            parameter.data = parameter.data.float()
    try:
        yield narrow
    finally:
        if narrow is not None:
            for parameter in _parameters(modules):
                parameter.data = parameter.data.to(types.get(id(parameter), narrow))


def _parameters(modules: tuple[nn.Module, ...]) -> list[nn.Parameter]:
    found = {id(p): p for module in modules for p in module.parameters() if p.is_floating_point()}
    return list(found.values())


@contextlib.contextmanager
def computing(block: Block, precision: Precision, device_type: str) -> Iterator[None]:
    """Let a block compute in ``precision`` between its float32 inputs and outputs.

    Norms compute in float32, those of queries and keys among them. The ones in front of linears are told to give what
    the linears would each convert for themselves, and positions are turned by in bfloat16, as in a model of that type.
    """
    if precision == "float32":
        yield
        return
    scales = [module for module in block.layer.modules() if getattr(getattr(module, "weight", None), "ndim", 0) == 1]
    norms = [group.norm for group in block.groups.values() if group.norm is not None]
    hooks = [
        *(module.register_forward_pre_hook(lambda _module, args: (args[0].float(), *args[1:])) for module in scales),
        *(norm.register_forward_hook(lambda _module, _args, output: output.bfloat16()) for norm in norms),
        block.attention.module.register_forward_pre_hook(_in_bfloat16_positions, with_kwargs=True),
    ]
    try:
        with torch.autocast(device_type, torch.bfloat16):
            yield
    finally:
        for hook in hooks:
            hook.remove()


def _in_bfloat16_positions(_module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Give sines and cosines in the type of queries and keys, which are float32 again otherwise."""
    cosine, sine = kwargs["position_embeddings"]
    return args, kwargs | {"position_embeddings": (cosine.bfloat16(), sine.bfloat16())}
