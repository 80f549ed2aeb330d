"""Where a map of an activation may live: who writes the activation, who reads it, and what absorbs the map.

One table for all transforms. A map that is absorbed costs nothing as the model runs: it goes into the rows of the
linears that write the activation, or into the norm that computes it, and its inverse into the columns of those that
read it. Any other map of an input runs online in front of the readers, and its inverse goes into the same columns.

Keys behind RoPE are in no row, since no weight writes or reads them: their map runs online in attention, and its
inverse on the queries (:func:`quantguard.modeling.rotating.transform_keys`).
"""

import dataclasses
from typing import Literal

from quantguard.modeling.descriptions import GroupName, NormRole, Role


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StreamSite:
    """The residual stream, which a rotation passes through from one end of a decoder to the other.

    Attributes:
        writers: the linears of a block that add to it; their rows and biases are rotated.
        readers: the linears of a block that read it through a norm; their columns are rotated.
        norms: the norms in between, whose scales have to be folded into the readers first.
        ends: the table in front of the blocks that it comes from, and the head behind them that reads it.

    """

    writers: tuple[Role, ...]
    readers: tuple[Role, ...]
    norms: tuple[NormRole, ...]
    ends: tuple[Literal["embedding", "head"], ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InputSite:
    """The input of a group of linears.

    Attributes:
        group: the group, in front of which a map runs online.
        readers: its linears; their columns take the inverse of a map.
        absorbs: which maps need not run: a scale of each channel (``diagonal``), or a matrix of each head (``heads``).
        norms: the norm that computes the input, and absorbs a diagonal.
        writers: the linears that the input is proportional to, whose rows and biases absorb the map.

    """

    group: GroupName
    readers: tuple[Role, ...]
    absorbs: Literal["diagonal", "heads"]
    norms: tuple[NormRole, ...] = ()
    writers: tuple[Role, ...] = ()


Site = InputSite | StreamSite

STREAM = StreamSite(
    writers=("o", "down"),
    readers=("q", "k", "v", "gate", "up"),
    norms=("attention", "mlp"),
    ends=("embedding", "head"),
)
QKV_INPUT = InputSite(group="qkv", readers=("q", "k", "v"), absorbs="diagonal", norms=("attention",))
# Attention mixes tokens and no channels: what is done to the values of a head is still there in its output. Query heads
# that share a key-value head share its map.
OUTPUT_INPUT = InputSite(group="o", readers=("o",), absorbs="heads", writers=("v",))
GATE_UP_INPUT = InputSite(group="gate_up", readers=("gate", "up"), absorbs="diagonal", norms=("mlp",))
# What down reads is act(gate) * up, which is proportional to up, channel by channel.
DOWN_INPUT = InputSite(group="down", readers=("down",), absorbs="diagonal", writers=("up",))

# In the order in which they run.
INPUTS = (QKV_INPUT, OUTPUT_INPUT, GATE_UP_INPUT, DOWN_INPUT)
