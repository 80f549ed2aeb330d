"""The quantization types of AscendV1, and what tensors a linear of each type has.

As written by msModelSlim 26.1.0 and loaded by vLLM-Ascend (``vllm_ascend/quantization/methods``).
"""

import dataclasses
import math

import torch

from quantguard.checkpoints._stored import FINITE, FLOATS, POSITIVE, Spec, Values, within
from quantguard.modeling.descriptions import linear_attributes
from quantguard.records import QuantArgs

FLOAT = "FLOAT"
CACHE = "C8"
# What msModelSlim calls bias, matrices and clip of a FlatQuant linear that has a bias; nobody looks these types up.
BESIDE_FLATQUANT = "FLOAT_FLATQUANT"
STATIC, FLATQUANT, PACKED = "W8A8", "W4A4_FLATQUANT_DYNAMIC", "W4A8_DYNAMIC"
# How deq_scale is stored, by the type of the model: float32, or its bits as an integer.
DEQ_SCALE = {torch.bfloat16: "F32", torch.float16: "I64"}
# The parts that scale_bias of a linear behind attention or the activation function is summed up in.
NUM_SPLITS = 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LinearType:
    """The bits of a type: of the weight, one scale a channel, and of the activations it takes."""

    num_bits: int
    input_activations: QuantArgs | None

    @property
    def weights(self) -> QuantArgs:
        """The settings of the weight."""
        return QuantArgs(num_bits=self.num_bits, strategy="channel")


def _per_token(num_bits: int) -> QuantArgs:
    return QuantArgs(num_bits=num_bits, strategy="token", dynamic=True)


TYPES = {
    STATIC: LinearType(num_bits=8, input_activations=QuantArgs(num_bits=8, strategy="tensor")),
    "W8A8_DYNAMIC": LinearType(num_bits=8, input_activations=_per_token(8)),
    "W8A16": LinearType(num_bits=8, input_activations=None),
    PACKED: LinearType(num_bits=4, input_activations=_per_token(8)),
    "W4A4_DYNAMIC": LinearType(num_bits=4, input_activations=_per_token(4)),
    FLATQUANT: LinearType(num_bits=4, input_activations=_per_token(4)),
}
KV_CACHE = QuantArgs(num_bits=8, strategy="channel")
# Types whose weight_scale the loader keeps in the type of the model; it keeps the others in float32.
SCALED_IN_MODEL_TYPE = ("W8A8_DYNAMIC", "W8A16")

ZERO = Values("an offset of a symmetric weight is 0", lambda offset: offset == 0)
WHOLE = Values(
    "an offset is a whole number from -128 to 127",
    lambda offset: (offset.float() == offset.float().round()) & (offset >= -128) & (offset <= 127),
)
RATIO = Values("a clipping ratio is above 0 and at most 1", lambda ratio: (ratio > 0) & (ratio <= 1))
DEQ_VALUES = Values(
    "a scale is positive and finite, as a float32 or its bits",
    lambda scale: (scale > 0) & (torch.isfinite(scale) if scale.is_floating_point() else scale < 0x7F80_0000),
)
OUTPUT_INPUT = linear_attributes("o", "down")


def linear_specs(
    kind: str, *, name: str, out_features: int, in_features: int, num_heads: int, has_right: bool, dtype: torch.dtype
) -> dict[str, Spec]:
    """Return what the tensors of a quantized linear have to be, by the last part of their names; biases aside.

    ``has_right`` says whether a FlatQuant linear names a right matrix: that of o may go without, its own being folded
    into the values.
    """
    rows = out_features // 2 if kind == PACKED else out_features
    values = within(-8, 7) if kind in ("W4A4_DYNAMIC", FLATQUANT) else None
    specs = {"weight": Spec(dtypes=("I8",), shape=(rows, in_features), values=values, bulk=True)}
    column = (out_features, 1)
    optional = kind == STATIC
    specs["weight_scale"] = Spec(dtypes=FLOATS, shape=column, values=POSITIVE, optional=optional)
    specs["weight_offset"] = Spec(dtypes=FLOATS, shape=column, values=ZERO, optional=optional)
    if kind == STATIC:
        specs |= _static_specs(out_features, dtype)
    if kind == PACKED:
        splits = NUM_SPLITS if name.endswith(OUTPUT_INPUT) else 1
        specs["scale_bias"] = Spec(dtypes=("F32",), shape=(out_features, splits), values=FINITE)
    if kind == FLATQUANT:
        specs |= _flatquant_specs(kronecker_sizes(in_features), num_heads, has_right=has_right)
    return specs


def _static_specs(out_features: int, dtype: torch.dtype) -> dict[str, Spec]:
    # What a float32 model is served in is not known here: either is possible.
    stored = (DEQ_SCALE[dtype],) if dtype in DEQ_SCALE else tuple(DEQ_SCALE.values())
    return {
        "input_scale": Spec(dtypes=FLOATS, shape=(1,), values=POSITIVE),
        "input_offset": Spec(dtypes=FLOATS, shape=(1,), values=WHOLE),
        "deq_scale": Spec(dtypes=stored, shape=(out_features,), values=DEQ_VALUES),
        "quant_bias": Spec(dtypes=("I32",), shape=(out_features,)),
    }


def _flatquant_specs(sizes: tuple[int, int] | None, num_heads: int, *, has_right: bool) -> dict[str, Spec]:
    left, right = sizes or (0, 0)
    if not has_right:
        left = num_heads
    specs = {
        "left_trans": Spec(dtypes=FLOATS, shape=(left, left), values=FINITE),
        "clip_ratio": Spec(dtypes=("F32",), shape=(1,), values=RATIO),
    }
    if has_right:
        specs["right_trans"] = Spec(dtypes=FLOATS, shape=(right, right), values=FINITE)
    return specs


def kronecker_sizes(width: int) -> tuple[int, int] | None:
    """Return the sizes of the left and right matrix that vLLM-Ascend makes room for; None where it finds none.

    They are ``a - b`` and ``a + b`` for the smallest ``a`` with ``a² - b² = width``, so both are even or both odd.
    """
    for larger in range(math.isqrt(width - 1) + 1, (width + 1) // 2 + 1):
        rest = larger**2 - width
        smaller = math.isqrt(rest)
        if smaller**2 == rest:
            return larger - smaller, larger + smaller
    return None


def cache_specs(channels: int) -> dict[str, Spec]:
    """Return what the scales of a quantized cache have to be, below the linears of keys and values."""
    return {
        "kv_cache_scale": Spec(dtypes=FLOATS, shape=(channels,), values=POSITIVE),
        "kv_cache_offset": Spec(dtypes=FLOATS, shape=(channels,), values=WHOLE),
    }
