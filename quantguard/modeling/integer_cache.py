"""The keys and values of a growing batch, for transformers' own cache: integers where the model quantizes them."""

from typing import Any

import torch
import transformers
from torch import nn
from transformers.cache_utils import CacheLayerMixin

from quantguard.kernels.kv_cache import Stored
from quantguard.modeling.attention import extension_of
from quantguard.modeling.kv_store import KVStore, StoredPair


class IntegerCacheLayer(CacheLayerMixin):
    """The keys and values of one layer as packed integers with their scales."""

    is_sliding = False
    stores_integers = True

    def __init__(self, store: KVStore) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._store = store
        self._stored: StoredPair | None = None

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Do nothing: there is nothing to allocate before the first update."""

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_kwargs: Any) -> Any:
        """Store more keys and values, float ``[batch, heads, tokens, head_dim]``; return what to attend to."""
        new = self._store.store(key_states, value_states)
        if self._stored is not None:
            new = _joined(self._stored[0], new[0]), _joined(self._stored[1], new[1])
        self._stored, self.is_initialized = new, True
        if self._store.attends(key_states.shape[-2]):
            return self._store.handles(new)
        return self._store.restore(new, key_states.dtype)

    @property
    def num_bytes(self) -> int:
        """What the stored keys and values take."""
        return sum(t.numel() * t.element_size() for stored in self._stored or () for t in stored.values())

    def get_seq_length(self) -> int:
        """Return the number of tokens stored."""
        return 0 if self._stored is None else int(self._stored[0]["data"].shape[-2])

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return how many keys a query sees, and the offset of the first."""
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        """Return -1: the cache grows without bound."""
        return -1

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows of the batch."""
        self._change(lambda t: t[indices])

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last ``-tokens_to_remove`` tokens."""
        self._change(lambda t: t[..., :tokens_to_remove, :])

    def _change(self, function: Any) -> None:
        if self._stored is not None:
            keys, values = ({name: function(t) for name, t in stored.items()} for stored in self._stored)
            self._stored = keys, values


def _joined(old: Stored, new: Stored) -> Stored:
    return {name: torch.cat((old[name], new[name]), dim=-2) for name in old}


def new_cache(model: Any) -> Any:
    """Return an empty cache for generation: of integers where the model quantizes its keys and values."""
    cache = transformers.DynamicCache(config=model.config)
    for index, layer in enumerate(model.model.layers):
        store = kv_store(layer.self_attn)
        if store is not None:
            cache.layers[index] = IntegerCacheLayer(store)
    return cache


def kv_store(attention: nn.Module) -> KVStore | None:
    """Return how an attention layer stores its keys and values, where it quantizes them."""
    extension = extension_of(attention)
    return None if extension is None else extension.store
