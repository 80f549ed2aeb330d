"""The only place that knows transformers' module names: loads models, finds their linear layers, swaps them."""

from quantguard.modeling.behaviour import require_described
from quantguard.modeling.block import Block, LinearGroup
from quantguard.modeling.calibrating import Activations, Batch, BlockCalibration, LearnedClips, embed
from quantguard.modeling.input_stats import InputStats
from quantguard.modeling.loading import LoadedModel, load
from quantguard.modeling.quant_linear import QuantLinear
from quantguard.modeling.structure import Decoder, find_blocks, find_decoder, quantizable_linears
from quantguard.modeling.swapping import QuantizedLayer, swap_linears

__all__ = [
    "Activations",
    "Batch",
    "Block",
    "BlockCalibration",
    "Decoder",
    "InputStats",
    "LearnedClips",
    "LinearGroup",
    "LoadedModel",
    "QuantLinear",
    "QuantizedLayer",
    "embed",
    "find_blocks",
    "find_decoder",
    "load",
    "quantizable_linears",
    "require_described",
    "swap_linears",
]
