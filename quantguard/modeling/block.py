"""One decoder layer by the names of its parts, which are looked up whenever they are asked for."""

import dataclasses
from collections.abc import Mapping

from torch import nn

from quantguard.modeling.descriptions import (
    BlockDescription,
    GroupDescription,
    GroupName,
    NormRole,
    PartDescription,
    Role,
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LinearGroup:
    """Linear layers that read one input.

    They are looked up in ``parent`` whenever they are asked for, so a layer that was replaced is found.

    Attributes:
        name: what the group is called in its description.
        prefix: the full name of the module that holds the linears.
        parts: what that module calls them.
        parent: the module that holds the linears.
        layer: the decoder layer, which holds the norm in front.
        norm_name: what the layer calls the norm in front; None where none feeds the linears.

    """

    name: GroupName
    prefix: str
    parts: tuple[str, ...]
    parent: nn.Module
    layer: nn.Module
    norm_name: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """The full names of the linears."""
        return tuple(f"{self.prefix}.{part}" for part in self.parts)

    @property
    def linears(self) -> tuple[nn.Linear, ...]:
        """The linears as they are now."""
        return tuple(getattr(self.parent, part) for part in self.parts)

    @property
    def norm(self) -> nn.Module | None:
        """The norm in front, if there is one."""
        return None if self.norm_name is None else getattr(self.layer, self.norm_name)

    @property
    def in_features(self) -> int:
        """The width of the shared input."""
        return next(iter(self.linears)).in_features


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """The self-attention of a block; its linears are looked up whenever they are asked for.

    Attributes:
        name: its full name.
        module: the module itself.
        description: what it calls its parts.

    """

    name: str
    module: nn.Module
    description: PartDescription

    @property
    def q(self) -> nn.Linear:
        """The linear of queries."""
        return _linear(self, "q")

    @property
    def k(self) -> nn.Linear:
        """The linear of keys."""
        return _linear(self, "k")

    @property
    def v(self) -> nn.Linear:
        """The linear of values."""
        return _linear(self, "v")

    @property
    def o(self) -> nn.Linear:
        """The linear of the output."""
        return _linear(self, "o")

    @property
    def head_dim(self) -> int:
        """The width of a head."""
        return int(self.module.head_dim)  # type: ignore[arg-type]

    @property
    def num_heads(self) -> int:
        """The number of query heads."""
        return self.o.in_features // self.head_dim

    @property
    def num_key_value_heads(self) -> int:
        """The number of key and value heads."""
        return self.k.out_features // self.head_dim


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MLP:
    """The gated MLP of a block; its linears are looked up whenever they are asked for.

    Attributes:
        name: its full name.
        module: the module itself.
        description: what it calls its parts.

    """

    name: str
    module: nn.Module
    description: PartDescription

    @property
    def gate(self) -> nn.Linear:
        """The linear behind which the activation is."""
        return _linear(self, "gate")

    @property
    def up(self) -> nn.Linear:
        """The linear that the gate is multiplied with."""
        return _linear(self, "up")

    @property
    def down(self) -> nn.Linear:
        """The linear of the output."""
        return _linear(self, "down")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Norms:
    """The norms of a block by what they are in front of.

    Attributes:
        layer: the decoder layer that holds them.
        attributes: what it calls them, by role.

    """

    layer: nn.Module
    attributes: Mapping[NormRole, str]

    @property
    def attention(self) -> nn.Module:
        """The norm in front of attention."""
        return self.of("attention")

    @property
    def mlp(self) -> nn.Module:
        """The norm in front of the MLP."""
        return self.of("mlp")

    def of(self, role: NormRole) -> nn.Module:
        """Return the norm of a role as it is now, with an online transform behind it where one was put there."""
        return getattr(self.layer, self.attributes[role])  # type: ignore[no-any-return]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One decoder layer by the names of its parts.

    Attributes:
        name: its full name.
        layer: the module itself.
        description: what it calls its parts.
        attention: the self-attention.
        mlp: the MLP.
        norms: the norms in front of the two.
        groups: its linears by the input that they read, in the order in which they run.

    """

    name: str
    layer: nn.Module
    description: BlockDescription
    attention: Attention
    mlp: MLP
    norms: Norms
    groups: Mapping[GroupName, LinearGroup]

    @classmethod
    def of(cls, name: str, layer: nn.Module, description: BlockDescription) -> "Block":
        """Return a layer that has been found to have all parts of its description."""

        def group(described: GroupDescription) -> LinearGroup:
            part = description.part_of(next(iter(described.roles)))
            return LinearGroup(
                name=described.name,
                prefix=f"{name}.{part.attribute}",
                parts=tuple(part.linears[role] for role in described.roles),
                parent=getattr(layer, part.attribute),
                layer=layer,
                norm_name=None if described.norm is None else description.norms[described.norm],
            )

        attention, mlp = description.attention, description.mlp
        return cls(
            name=name,
            layer=layer,
            description=description,
            attention=Attention(
                name=f"{name}.{attention.attribute}",
                module=getattr(layer, attention.attribute),
                description=attention,
            ),
            mlp=MLP(name=f"{name}.{mlp.attribute}", module=getattr(layer, mlp.attribute), description=mlp),
            norms=Norms(layer=layer, attributes=description.norms),
            groups={described.name: group(described) for described in description.groups},
        )

    @property
    def linears(self) -> dict[str, nn.Linear]:
        """All linears by full name, in the order in which they run."""
        return {
            name: linear
            for group in self.groups.values()
            for name, linear in zip(group.names, group.linears, strict=True)
        }

    def linear(self, role: Role) -> nn.Linear:
        """Return the linear of a role as it is now."""
        return _linear(self.attention if role in self.description.attention.linears else self.mlp, role)

    def linear_name(self, role: Role) -> str:
        """Return the full name of the linear of a role."""
        return f"{self.name}.{self.description.linears[role]}"


def _linear(part: Attention | MLP, role: Role) -> nn.Linear:
    """Return the linear of a role as it is now: quantization puts another one in its place."""
    return getattr(part.module, part.description.linears[role])  # type: ignore[no-any-return]
