"""Keys and values between projection and attention: transformed, quantized, and stored as the integers they are.

transformers' attention layers hand their keys (after RoPE) and values to a cache and go on with what it returns. An
:class:`AttentionExtension` stands between the two; queries are met in an attention function of our own.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import nn
from transformers.cache_utils import CacheLayerMixin
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from quantguard.errors import ModelError
from quantguard.modeling.structure import Block
from quantguard.numerics import KVQuantizer, fake_quantize
from quantguard.records import QuantArgs

_ATTENTION_FUNCTION = "quantguard_sdpa"


class AttentionExtension(nn.Module):
    """What happens to queries, keys and values of one layer; each part is absent until it is set.

    query_transform, key_transform: ``[head_dim, head_dim]`` per head on the right, after RoPE; the two are inverse
    transposes of each other, so scores stay. ``simulated`` quantizes keys and values with gradients, for learning,
    values in the orthogonal ``simulated_value_basis`` if there is one; ``quantizers`` holds those of keys and
    values, which also say how a cache stores them. ``observer`` is shown keys and values before they are quantized.
    """

    query_transform: torch.Tensor | None
    key_transform: torch.Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("query_transform", None)
        self.register_buffer("key_transform", None)
        self.simulated: QuantArgs | None = None
        self.simulated_value_basis: torch.Tensor | None = None
        self.observer: Callable[[torch.Tensor, torch.Tensor], None] | None = None
        self.quantizers: tuple[KVQuantizer, KVQuantizer] | None = None

    def transform_queries(self, queries: torch.Tensor) -> torch.Tensor:
        """Transform float ``[batch, heads, tokens, head_dim]``."""
        return _multiply(queries, self.query_transform)

    def transform_keys(self, keys: torch.Tensor) -> torch.Tensor:
        """Transform float ``[batch, key_value_heads, tokens, head_dim]``."""
        return _multiply(keys, self.key_transform)

    def round_trip(self, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Quantize and dequantize keys and values as a cache would."""
        if self.simulated is not None:
            return fake_quantize(keys, self.simulated), self._simulate_values(values, self.simulated)
        if self.quantizers is None:
            return keys, values
        for_keys, for_values = self.quantizers
        return for_keys.round_trip(keys), for_values.round_trip(values)

    def _simulate_values(self, values: torch.Tensor, args: QuantArgs) -> torch.Tensor:
        basis = self.simulated_value_basis
        if basis is None:
            return fake_quantize(values, args)
        wide = values.to(torch.promote_types(values.dtype, basis.dtype))
        return (fake_quantize(wide @ basis, args) @ basis.t()).to(values.dtype)


def _multiply(x: torch.Tensor, matrix: torch.Tensor | None) -> torch.Tensor:
    if matrix is None:
        return x
    wide = x if x.dtype == torch.float64 else x.float()
    return (wide @ matrix.to(wide.dtype)).to(x.dtype)


def extend_attention(config: Any, block: Block) -> AttentionExtension:
    """Return the extension of a block's attention, put there now if it has none yet.

    Raises ModelError where the model's attention cannot be extended.
    """
    attention: Any = block.attention.module
    existing = getattr(attention, "extension", None)
    if isinstance(existing, AttentionExtension):
        return existing
    _use_own_attention(config)
    attention.extension = AttentionExtension()
    attention.register_forward_pre_hook(_through_extension, with_kwargs=True)
    return attention.extension  # type: ignore[no-any-return]


def _use_own_attention(config: Any) -> None:
    current = config._attn_implementation  # noqa: SLF001 - transformers has no public getter
    if current == _ATTENTION_FUNCTION:
        return
    if current not in ("sdpa", None):
        raise ModelError(f"attention is {current!r}; transformed or quantized keys need 'sdpa'")
    ALL_ATTENTION_FUNCTIONS.register(_ATTENTION_FUNCTION, _attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(_ATTENTION_FUNCTION, sdpa_mask)
    config._attn_implementation = _ATTENTION_FUNCTION  # noqa: SLF001


def _attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, **kwargs: Any
) -> Any:
    extension = getattr(module, "extension", None)
    if extension is not None:
        query = extension.transform_queries(query)
    return sdpa_attention_forward(module, query, key, value, mask, **kwargs)


def _through_extension(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    cache = kwargs.get("past_key_values")
    if not isinstance(cache, _Gateway):
        kwargs["past_key_values"] = _Gateway(extension=module.extension, cache=cache)
    return args, kwargs


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Gateway:
    """What an attention layer takes for its cache: passes keys and values through the extension, then on."""

    extension: AttentionExtension
    cache: Any

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        """Return the keys and values to attend to."""
        keys = self.extension.transform_keys(keys)
        if self.extension.observer is not None:
            self.extension.observer(keys, values)
        if self.cache is not None and self._stores_integers(layer_idx):
            return self.cache.update(keys, values, layer_idx, *args, **kwargs)
        keys, values = self.extension.round_trip(keys, values)
        return (keys, values) if self.cache is None else self.cache.update(keys, values, layer_idx, *args, **kwargs)

    def _stores_integers(self, layer_idx: int) -> bool:
        layers = self.cache.layers
        return layer_idx < len(layers) and getattr(layers[layer_idx], "stores_integers", False)


class IntegerCacheLayer(CacheLayerMixin):
    """The keys and values of one layer as packed integers with their scales."""

    is_sliding = False
    stores_integers = True

    def __init__(self, quantizers: tuple[KVQuantizer, KVQuantizer]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._quantizers = quantizers
        self._stored: tuple[dict[str, torch.Tensor], ...] | None = None

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Do nothing: there is nothing to allocate before the first update."""

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_kwargs: Any) -> Any:
        """Store more keys and values, float ``[batch, heads, tokens, head_dim]``; return all, dequantized."""
        new = tuple(q.store(x) for q, x in zip(self._quantizers, (key_states, value_states), strict=True))
        if self._stored is not None:
            new = tuple(_joined(old, more) for old, more in zip(self._stored, new, strict=True))
        self._stored, self.is_initialized = new, True
        return tuple(q.restore(s).to(key_states.dtype) for q, s in zip(self._quantizers, new, strict=True))

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
            self._stored = tuple({name: function(t) for name, t in stored.items()} for stored in self._stored)


def _joined(old: dict[str, torch.Tensor], new: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: torch.cat((old[name], new[name]), dim=-2) for name in old}


def new_cache(model: Any) -> Any:
    """Return an empty cache for generation: of integers where the model quantizes its keys and values."""
    quantizers = [kv_quantizers(layer.self_attn) for layer in model.model.layers]
    if not any(quantizers):
        return transformers.DynamicCache(config=model.config)
    cache = transformers.DynamicCache(config=model.config)
    for index, pair in enumerate(quantizers):
        if pair is not None:
            cache.layers[index] = IntegerCacheLayer(pair)
    return cache


def kv_quantizers(attention: nn.Module) -> tuple[KVQuantizer, KVQuantizer] | None:
    """Return how an attention layer quantizes its keys and values, where it does."""
    extension = getattr(attention, "extension", None)
    return extension.quantizers if isinstance(extension, AttentionExtension) else None
