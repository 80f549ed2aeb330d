"""The only place that knows transformers' module names: loads models, finds their linear layers, swaps them."""

from quantguard.modeling.loading import LoadedModel, load
from quantguard.modeling.observing import InputStats, observe_inputs
from quantguard.modeling.quant_linear import QuantLinear
from quantguard.modeling.structure import Block, find_blocks, quantizable_linears
from quantguard.modeling.swapping import swap_linears

__all__ = [
    "Block",
    "InputStats",
    "LoadedModel",
    "QuantLinear",
    "find_blocks",
    "load",
    "observe_inputs",
    "quantizable_linears",
    "swap_linears",
]
