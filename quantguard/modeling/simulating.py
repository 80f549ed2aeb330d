"""Running a block as if it were quantized, with gradients: what learned transforms minimise."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from quantguard.modeling.attention import extend_attention
from quantguard.modeling.block import Block
from quantguard.records import QuantArgs

# Takes the full name of a linear and its input, and returns the input that the linear is given instead.
InputHook = Callable[[str, torch.Tensor], torch.Tensor]


@contextlib.contextmanager
def simulated_inputs(block: Block, change: InputHook) -> Iterator[None]:
    """Let ``change`` replace the input of every linear of a block."""
    hooks = []
    for name, linear in block.linears.items():

        def hook(_module: nn.Module, args: tuple[Any, ...], name: str = name) -> tuple[torch.Tensor]:
            return (change(name, args[0]),)

        hooks.append(linear.register_forward_pre_hook(hook))
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


@contextlib.contextmanager
def simulated_cache(config: Any, block: Block, args: QuantArgs | None) -> Iterator[None]:
    """Quantize keys and values of a block with gradients, per token and head; absent settings leave them float."""
    if args is None:
        yield
        return
    extension = extend_attention(config, block)
    extension.simulated = args
    try:
        yield
    finally:
        extension.simulated = None
        extension.simulated_value_basis = None
