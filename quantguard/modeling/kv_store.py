"""Keys and values of one layer as stored integers: the kernels that store them, restore them and attend to them."""

import dataclasses
import types
from typing import Any

import torch

from quantguard.kernels.kv_cache import Stored
from quantguard.numerics import KVQuantizer

StoredPair = tuple[Stored, Stored]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KVStore:
    """How one layer stores its keys and values.

    ``quantizers``: those of keys and of values. ``cache``: the body of ``kv_cache``. ``attention``: that of
    ``kv_attention``, where the backend attends to integers itself.
    """

    quantizers: tuple[KVQuantizer, KVQuantizer]
    cache: types.ModuleType
    attention: types.ModuleType | None = None

    def store(self, keys: torch.Tensor, values: torch.Tensor) -> StoredPair:
        """Quantize float ``[batch, heads, tokens, head_dim]``."""
        for_keys, for_values = self.quantizers
        return self.cache.store(keys, for_keys), self.cache.store(values, for_values)

    def restore(self, stored: StoredPair, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Dequantize keys and values to float ``[batch, heads, tokens, head_dim]``."""
        return self.restore_part(stored[0], 0, dtype), self.restore_part(stored[1], 1, dtype)

    def restore_part(self, stored: Stored, index: int, dtype: torch.dtype) -> torch.Tensor:
        """Dequantize keys, which are part 0, or values, which are part 1."""
        restored: torch.Tensor = self.cache.restore(stored, self.quantizers[index], output_dtype=dtype)
        return restored

    def attends(self, queries: int) -> bool:
        """Tell whether a kernel attends to the integers from so many tokens a sequence."""
        return self.attention is not None and queries == 1

    def handles(self, stored: StoredPair) -> tuple["StoredTokens", "StoredTokens"]:
        """Return what stands for keys and values on their way to that kernel."""
        return StoredTokens(store=self, stored=stored[0]), StoredTokens(store=self, stored=stored[1])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StoredTokens:
    """Keys, or values, that an attention layer hands on from its cache to the attention function.

    ``store``: how they were stored. ``stored``: the integers and what goes with them.
    """

    store: KVStore
    stored: Stored

    def attend(self, query: torch.Tensor, values: "StoredTokens", mask: Any, *, softmax_scale: float) -> torch.Tensor:
        """Attend to these keys and to values; ``query`` and result are float ``[batch, heads, 1, head_dim]``.

        mask: ``[batch, 1, 1, tokens]``, bool and true where a token is seen, or float and 0 there; or absent.
        """
        assert self.store.attention is not None
        hidden = None if mask is None else ~mask if mask.dtype == torch.bool else mask < 0
        if hidden is not None:
            hidden = hidden.expand(len(query), -1, -1, -1).contiguous()
        attended: torch.Tensor = self.store.attention.apply(
            query, (self.stored, values.stored), self.store.quantizers, hidden, softmax_scale=softmax_scale
        )
        return attended
