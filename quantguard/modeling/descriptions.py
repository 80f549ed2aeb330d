"""What decoders are made of, as data: where linears and norms are, the role of each, and which linears read one input.

A model whose parts have other names is another description. Names of stored tensors are spelled here and nowhere else.
"""

import dataclasses
from collections.abc import Mapping
from typing import Literal

Role = Literal["q", "k", "v", "o", "gate", "up", "down"]
NormRole = Literal["attention", "mlp"]
GroupName = Literal["qkv", "o", "gate_up", "down"]

# The decoder inside a causal language model, and what is outside its blocks.
CORE = "model"
EMBEDDING = f"{CORE}.embed_tokens"
BLOCKS = f"{CORE}.layers"
FINAL_NORM = f"{CORE}.norm"
ROTARY = f"{CORE}.rotary_emb"
# What the names of tensors end in that old checkpoints store although they are computed from the configuration.
COMPUTED = f"{ROTARY.rpartition('.')[2]}.inv_freq"
HEAD = "lm_head"
EMBEDDING_WEIGHT, HEAD_WEIGHT = f"{EMBEDDING}.weight", f"{HEAD}.weight"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PartDescription:
    """A module of a decoder layer that holds linears: its attention or its MLP.

    Attributes:
        attribute: what the layer calls the module.
        linears: what the module calls its linears, by role, in the order in which they run.
        norms: what the module calls norms of its own, each of which may be absent.

    """

    attribute: str
    linears: Mapping[Role, str]
    norms: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GroupDescription:
    """Linears that read one input, which programs that serve put into one matrix.

    Attributes:
        name: what the group is called.
        roles: the roles of its linears, all of one part, in the order of the one matrix.
        norm: the role of the norm that computes the input; None where it is another activation.

    """

    name: GroupName
    roles: tuple[Role, ...]
    norm: NormRole | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BlockDescription:
    """One shape of a decoder layer.

    Attributes:
        attention: the self-attention.
        mlp: the MLP.
        norms: what the layer calls the norms in front of the two.
        groups: all linears by the input that they read, in the order in which they run.

    """

    attention: PartDescription
    mlp: PartDescription
    norms: Mapping[NormRole, str]
    groups: tuple[GroupDescription, ...]

    @property
    def linears(self) -> dict[Role, str]:
        """What all linears are called in the layer, by role, in the order in which they run."""
        return {role: f"{p.attribute}.{name}" for p in (self.attention, self.mlp) for role, name in p.linears.items()}

    def part_of(self, role: Role) -> PartDescription:
        """Return the part that holds the linear of a role."""
        return self.attention if role in self.attention.linears else self.mlp


GATED = BlockDescription(
    attention=PartDescription(
        attribute="self_attn",
        linears={"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "o_proj"},
        norms=("q_norm", "k_norm"),
    ),
    mlp=PartDescription(attribute="mlp", linears={"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}),
    norms={"attention": "input_layernorm", "mlp": "post_attention_layernorm"},
    groups=(
        GroupDescription(name="qkv", roles=("q", "k", "v"), norm="attention"),
        GroupDescription(name="o", roles=("o",)),
        GroupDescription(name="gate_up", roles=("gate", "up"), norm="mlp"),
        GroupDescription(name="down", roles=("down",)),
    ),
)
# The first that a layer has all parts of is its description.
DESCRIPTIONS = (GATED,)


def block_name(index: int) -> str:
    """Return the name of a decoder layer."""
    return f"{BLOCKS}.{index}"


def linear_attributes(*roles: Role) -> tuple[str, ...]:
    """Return what linears of some roles are called, which the names of their tensors end in."""
    return tuple(dict.fromkeys(d.part_of(role).linears[role] for d in DESCRIPTIONS for role in roles))
