"""Keys and values between projection and attention: transformed, quantized, and attended to.

transformers' attention layers hand their keys (after RoPE) and values to a cache and go on with what it returns. An
:class:`AttentionExtension` stands between the two; queries are met in an attention function of our own, and so are the
integers that a cache hands on for a kernel to attend to.
"""

import dataclasses
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from quantguard.errors import ModelError
from quantguard.kernels import choose_backend, own_body, resolve, rotate
from quantguard.modeling.block import Block
from quantguard.modeling.kv_store import KVStore, StoredTokens
from quantguard.numerics import KVQuantizer, fake_quantize
from quantguard.records import QuantArgs, RotationArgs

_ATTENTION_FUNCTION = "quantguard_sdpa"


class AttentionExtension(nn.Module):
    """What happens to queries, keys and values of one layer; each part is absent until it is set.

    query_transform, key_transform: ``[head_dim, head_dim]`` per head on the right, after RoPE; the two are inverse
    transposes of each other, so scores stay. ``simulated`` quantizes keys and values with gradients, for learning,
    values in the orthogonal ``simulated_value_basis`` if there is one; ``quantizers`` holds those of keys and
    values, which also say how a cache stores them. ``observer`` is shown keys and values before they are quantized.
    ``kernels`` maps each op that runs here to its backend, once they have been chosen; the transforms run on the
    reference body of ``rotate`` before.
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
        self.kernels: dict[str, str] = {}
        self._rotate: Callable[..., torch.Tensor] = rotate.apply
        self._cache: types.ModuleType | None = None
        self._attention: types.ModuleType | None = None

    def choose_kernels(self, *, backend: str, device_type: str) -> None:
        """Run on a backend from now on; raise KernelError naming an operation that it lacks."""
        self.kernels = {}
        if self.key_transform is not None:
            head_dim = len(self.key_transform)
            rotation = RotationArgs(width=head_dim, left=None, right=head_dim)
            chosen = choose_backend("rotate", rotation, requested=backend, device_type=device_type)
            self.kernels["rotate"], self._rotate = chosen, resolve("rotate", chosen).apply
        if self.quantizers is not None:
            args = self.quantizers[0].args
            chosen = choose_backend("kv_cache", args, requested=backend, device_type=device_type)
            self.kernels["kv_cache"], self._cache = chosen, resolve("kv_cache", chosen)
            self._attention = own_body("kv_attention", args, chosen)
            if self._attention is not None:
                self.kernels["kv_attention"] = chosen

    @property
    def store(self) -> KVStore | None:
        """How keys and values are stored, where they are quantized; their kernels have to be chosen before."""
        if self.quantizers is None:
            return None
        assert self._cache is not None
        return KVStore(quantizers=self.quantizers, cache=self._cache, attention=self._attention)

    def transform_queries(self, queries: torch.Tensor) -> torch.Tensor:
        """Transform float ``[batch, heads, tokens, head_dim]``."""
        return queries if self.query_transform is None else self._rotate(queries, None, self.query_transform)

    def transform_keys(self, keys: torch.Tensor) -> torch.Tensor:
        """Transform float ``[batch, key_value_heads, tokens, head_dim]``."""
        return keys if self.key_transform is None else self._rotate(keys, None, self.key_transform)

    def round_trip(self, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Quantize and dequantize keys and values as a cache would."""
        if self.simulated is not None:
            return fake_quantize(keys, self.simulated), self._simulate_values(values, self.simulated)
        store = self.store
        return (keys, values) if store is None else store.restore(store.store(keys, values), keys.dtype)

    def _simulate_values(self, values: torch.Tensor, args: QuantArgs) -> torch.Tensor:
        basis = self.simulated_value_basis
        if basis is None:
            return fake_quantize(values, args)
        wide = values.to(torch.promote_types(values.dtype, basis.dtype))
        return (fake_quantize(wide @ basis, args) @ basis.t()).to(values.dtype)


def extend_attention(config: Any, block: Block) -> AttentionExtension:
    """Return the extension of a block's attention, put there now if it has none yet.

    Raises ModelError where the model's attention cannot be extended.
    """
    existing = extension_of(block.attention.module)
    if existing is not None:
        return existing
    attention: Any = block.attention.module
    _use_own_attention(config)
    attention.extension = AttentionExtension()
    attention.register_forward_pre_hook(_through_extension, with_kwargs=True)
    return attention.extension  # type: ignore[no-any-return]


def extension_of(attention: nn.Module) -> AttentionExtension | None:
    """Return the extension of an attention layer, where it has one."""
    extension = getattr(attention, "extension", None)
    return extension if isinstance(extension, AttentionExtension) else None


def _use_own_attention(config: Any) -> None:
    current = config._attn_implementation  # noqa: SLF001 - transformers has no public getter
    if current == _ATTENTION_FUNCTION:
        return
    if current not in ("sdpa", None):
        raise ModelError(f"attention is {current!r}; transformed or quantized keys need 'sdpa'")
    ALL_ATTENTION_FUNCTIONS.register(_ATTENTION_FUNCTION, _attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(_ATTENTION_FUNCTION, sdpa_mask)
    config._attn_implementation = _ATTENTION_FUNCTION  # noqa: SLF001


def _attention(module: Any, query: torch.Tensor, key: Any, value: Any, mask: torch.Tensor | None, **kwargs: Any) -> Any:
    extension = extension_of(module)
    if extension is not None:
        query = extension.transform_queries(query)
    if isinstance(key, StoredTokens):
        return key.attend(query, value, mask, softmax_scale=kwargs["scaling"]).transpose(1, 2).contiguous(), None
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
