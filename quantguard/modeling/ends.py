"""What embedding, final norm and head compute, kept small enough to compare before and after a transform.

Of each table there are 256 sums of rows under signs (a count sketch): no single row can change unseen.
"""

import copy
import dataclasses

import torch
from torch import nn

from quantguard.modeling.structure import Decoder

NUM_SUMS = 256
# Rows that are added up at a time: what is between stays small beside the table.
_ROWS = 64 * NUM_SUMS


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The ends of a decoder as they were at one time, float32 or wider.

    embedded: ``[tokens, hidden_size]``, the rows of some tokens; embedding, head: ``[256, hidden_size]``, the sums of
    all rows; bias: ``[256, 1]``, those of the head's bias if it has one; norm: a copy of the final norm.
    """

    embedded: torch.Tensor
    embedding: torch.Tensor
    head: torch.Tensor
    bias: torch.Tensor | None
    norm: nn.Module

    @classmethod
    @torch.no_grad()
    def of(cls, decoder: Decoder, token_ids: torch.Tensor) -> "Ends":
        """Take down the ends as they are now; ``token_ids``, int64 ``[tokens]``, are those whose rows are kept."""
        table, head = decoder.embedding.weight, decoder.head
        embedding = signed_sums(table)
        norm = copy.deepcopy(decoder.norm)
        for parameter in norm.parameters():
            parameter.data = _wide(parameter.data)
        return cls(
            embedded=_wide(decoder.embedding(token_ids)),
            embedding=embedding,
            head=embedding if head.weight is table else signed_sums(head.weight),
            bias=None if head.bias is None else signed_sums(head.bias[:, None]),
            norm=norm,
        )

    @torch.no_grad()
    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the sums of logits, ``[tokens, 256]``, of what the blocks give, ``[tokens, hidden_size]``."""
        sums: torch.Tensor = self.norm(hidden) @ self.head.t()
        return sums if self.bias is None else sums + self.bias[:, 0]


def signed_sums(rows: torch.Tensor) -> torch.Tensor:
    """Return 256 sums of ``[rows, width]`` under random signs, float32 or wider: row ``i`` is in sum ``i mod 256``."""
    generator = torch.Generator().manual_seed(0)
    sums = torch.zeros(NUM_SUMS, rows.shape[1], dtype=_wide(rows[:0]).dtype, device=rows.device)
    for part in rows.split(_ROWS):
        signs = (torch.randint(0, 2, (len(part), 1), generator=generator) * 2 - 1).to(part.device, sums.dtype)
        signed = part * signs
        whole = len(part) // NUM_SUMS * NUM_SUMS
        sums += signed[:whole].unflatten(0, (-1, NUM_SUMS)).sum(dim=0)
        sums[: len(part) - whole] += signed[whole:]
    return sums


def _wide(x: torch.Tensor) -> torch.Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
