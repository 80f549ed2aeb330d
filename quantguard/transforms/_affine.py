"""The learned affine maps of one block: small invertible matrices in Kronecker pairs, diagonals and clipping ratios."""

import dataclasses
import math
from typing import Any

import torch
from torch import nn

from quantguard.modeling import Block
from quantguard.modeling.descriptions import GroupName
from quantguard.numerics.hadamard import random_orthogonal
from quantguard.numerics.kronecker import kronecker_multiply


class InvertibleMatrix(nn.Module):
    """A learned square matrix that starts orthogonal and is read with its inverse transpose."""

    def __init__(self, size: int, parametrization: str, *, seed: int) -> None:
        super().__init__()
        start = random_orthogonal(size, seed=seed).float()
        self.direct = nn.Parameter(start) if parametrization == "direct" else None
        if self.direct is None:
            self.left, self.right = _orthogonal(start), _orthogonal(torch.eye(size))
            # softplus of this is one
            self.singular = nn.Parameter(torch.full((size,), math.log(math.e - 1)))

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the matrix and its inverse transpose, float32."""
        if self.direct is not None:
            # A parameter itself must not reach a module's buffer: it would become that module's parameter.
            return self.direct.clone(), torch.linalg.inv(self.direct.double()).t().to(self.direct.dtype)
        left: Any = self.left.weight
        right: Any = self.right.weight
        values = nn.functional.softplus(self.singular)
        return (left * values) @ right, (left / values) @ right


def _orthogonal(start: torch.Tensor) -> nn.Module:
    layer = nn.Linear(len(start), len(start), bias=False)
    nn.utils.parametrizations.orthogonal(layer, orthogonal_map="cayley", use_trivialization=True)
    with torch.no_grad():
        layer.weight = start
    return layer


@dataclasses.dataclass(frozen=True, slots=True)
class AffineMap:
    """One learned map of an input as it is in a step: factors, their inverse transposes and the diagonal."""

    left: torch.Tensor | None
    right: torch.Tensor
    left_dual: torch.Tensor | None
    right_dual: torch.Tensor
    scale: torch.Tensor | None

    def of_input(self, x: torch.Tensor) -> torch.Tensor:
        scaled = x if self.scale is None else x * self.scale.to(x.dtype)
        return kronecker_multiply(scaled, self.left, self.right)

    def of_weight(self, weight: torch.Tensor) -> torch.Tensor:
        scaled = weight if self.scale is None else weight / self.scale.to(weight.dtype)
        return kronecker_multiply(scaled, self.left_dual, self.right_dual)


class AffineMaps(nn.Module):
    """Everything that is learned for one block."""

    def __init__(
        self, block: Block, options: dict[str, Any], scales: dict[GroupName, torch.Tensor], *, keys: bool
    ) -> None:
        super().__init__()
        kind, seed = options["parametrization"], options["seed"]

        def matrix(size: int, index: int) -> InvertibleMatrix:
            return InvertibleMatrix(size, kind, seed=seed + index)

        self.pairs = nn.ModuleDict()
        self.scales = nn.ParameterDict()
        for index, (name, scale) in enumerate(scales.items()):
            a, b = _balanced_factors(block.groups[name].in_features)
            self.pairs[name] = nn.ModuleList([matrix(a, 2 * index), matrix(b, 2 * index + 1)])
            self.scales[name] = nn.Parameter(scale.float().log())
        self._scaled = tuple(scales)
        self.heads, self.values = matrix(block.attention.num_heads, 6), matrix(block.attention.head_dim, 7)
        self.keys = matrix(block.attention.head_dim, 8) if keys else None
        start = options["clip_init"]
        self.weight_clips = nn.ParameterDict(
            {
                _key(name): nn.Parameter(torch.full((linear.out_features, 1), start))
                for name, linear in block.linears.items()
            }
        )
        self._clip_owners = {
            _key(name): _key(next(iter(group.names)) if options["share_clips"] else name)
            for group in block.groups.values()
            for name in group.names
        }
        owners = dict.fromkeys(self._clip_owners.values())
        self.input_clips = nn.ParameterDict({owner: nn.Parameter(torch.tensor(start)) for owner in owners})

    def maps(self) -> dict[GroupName, AffineMap]:
        """Return the maps of the four inputs, by group."""
        found: dict[GroupName, AffineMap] = {}
        for key in self._scaled:
            pair = self.pairs[key]
            (left, left_dual), (right, right_dual) = (member() for member in pair)  # type: ignore[attr-defined]
            found[key] = AffineMap(left, right, left_dual, right_dual, self.scales[key].exp())
        (heads, heads_dual), (values, values_dual) = self.heads(), self.values()
        found["o"] = AffineMap(heads, values, heads_dual, values_dual, None)
        return found

    @torch.no_grad()
    def largest_condition(self) -> float:
        """Return the largest condition number of the matrices, infinite where one is not finite or has no inverse."""
        try:
            matrices = [module()[0] for module in self.modules() if isinstance(module, InvertibleMatrix)]
            return max(float(torch.linalg.cond(matrix)) for matrix in matrices)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            return math.inf

    def clip_of(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the clipping ratios of a linear's rows, ``[out, 1]``, and of its input."""
        key = _key(name)
        return self.weight_clips[key].sigmoid(), self.input_clips[self._clip_owners[key]].sigmoid()


def _key(name: str) -> str:
    return name.rpartition(".")[2]


def _balanced_factors(width: int) -> tuple[int, int]:
    """Return the two factors of a width that are nearest to its square root."""
    a = next(a for a in range(math.isqrt(width), 0, -1) if width % a == 0)
    return a, width // a
