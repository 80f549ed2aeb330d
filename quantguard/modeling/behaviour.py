"""That a decoder computes what its description says, seen by running it: names alone do not tell a norm's formula.

What quantguard does to a model (folding scales and rotations, showing it text block by block, generating with caches of
its own) is right for one function: ``x + c o(attention(q, k, v))``, then ``x + c down(act(gate) * up)``, behind norms
``weight * x / rms(x)``, between a table of embeddings and a head. A hollow copy of the model, which costs milliseconds
and no weights, is run and every step is compared with that. What differs is refused by the name of the part.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from quantguard.errors import ModelError
from quantguard.modeling.block import Block
from quantguard.modeling.descriptions import EMBEDDING, FINAL_NORM, HEAD, ROTARY, block_name
from quantguard.modeling.hollow import NUM_TOKENS, Materials, hollow_copy
from quantguard.modeling.layer_behaviour import LARGE, WINDOW, equal, is_given, require_block, rms_norm, same
from quantguard.modeling.layer_inputs import BESIDE, LayerCall, recorded_layers
from quantguard.modeling.structure import Decoder, find_decoder, window_of

_SEQUENCES, _TOKENS = 2, 5
_ATTENTION = ("sdpa", "quantguard_sdpa")
# What transformers may raise from code that is given what it does not expect.
_FAILURES = (TypeError, ValueError, RuntimeError, LookupError, AttributeError, AssertionError, ImportError)


def require_described(model: Any) -> Decoder:
    """Return the parts of a float causal language model that computes what they say, whatever its weights are.

    The model may hold weights or none (on the meta device); it is not run and not changed. Raises ModelError naming the
    part that nobody accounts for, or that computes something else.
    """
    decoder = find_decoder(model)
    if model.config._attn_implementation not in _ATTENTION:  # noqa: SLF001 - transformers has no public getter
        raise ModelError(
            f"{type(model).__name__} runs attention by {model.config._attn_implementation!r}, not by 'sdpa',"  # noqa: SLF001
            " which is what quantguard knows"
        )
    materials = Materials()
    try:
        _examine(hollow_copy(model, materials), decoder, materials)
    except _FAILURES as error:
        raise ModelError(
            f"{type(model).__name__} does not run as it is described: {type(error).__name__}: {error}"
        ) from error
    return decoder


@torch.no_grad()
def _examine(hollow: Any, described: Decoder, materials: Materials) -> None:
    # The same descriptions of copies of the layers, whose linears are stand-ins.
    blocks = [Block.of(block.name, hollow.get_submodule(block.name), block.description) for block in described.blocks]
    decoder = Decoder(model=hollow, blocks=blocks)
    _require_rms_norm(FINAL_NORM, decoder.norm, materials)
    for block in blocks:
        for role, name in block.description.norms.items():
            _require_rms_norm(f"{block.name}.{name}", block.norms.of(role), materials)
    window = window_of(hollow.config)
    if window is not None:
        hollow.config.sliding_window = WINDOW
    _require_steady_angles(hollow)
    calls = _require_ends(decoder, materials)
    _require_mask(calls[0], None if window is None else WINDOW)
    for block, call in zip(blocks, calls, strict=True):
        require_block(block, call, hollow.config, materials)


def _require_rms_norm(name: str, norm: nn.Module, materials: Materials) -> None:
    """Raise ModelError for a norm that is not ``weight * x / rms(x)``."""
    weight: Any = norm.weight
    # Large, so that the epsilon has no part in it, and with a mean, so that one that is removed is seen.
    x = 30 * materials.normal(_SEQUENCES, _TOKENS, len(weight)) + 20
    found, expected = norm(x), rms_norm(x, weight)
    if same(found, expected):
        return
    one_more, centred = rms_norm(x, 1 + weight), rms_norm(x - x.mean(dim=-1, keepdim=True), weight)
    what = (
        "multiplies by 1 + weight" if same(found, one_more)
        else "removes the mean" if same(found, centred)
        else "computes something else"
    )  # fmt: skip
    raise ModelError(f"{name} is a {type(norm).__name__} that {what}; a norm weight * x / rms(x) is supported")


def _require_steady_angles(hollow: Any) -> None:
    """Raise ModelError where a token is turned by another angle once the text is longer.

    Then a text in a batch with a longer one, or read from a cache, would not be computed as it is alone.
    """
    rotary, x = hollow.get_submodule(ROTARY), torch.zeros(1)
    few = torch.arange(_TOKENS)[None]
    last = torch.tensor([[hollow.config.max_position_embeddings - 1]])
    alone, beside = rotary(x, position_ids=few), rotary(x, position_ids=torch.cat((few, last), dim=1))
    if not all(torch.equal(one, other[:, :_TOKENS]) for one, other in zip(alone, beside, strict=True)):
        kind = (getattr(hollow.config, "rope_parameters", None) or {}).get("rope_type")
        raise ModelError(
            f"{ROTARY} turns a token by an angle that depends on how long the text is (rope_type {kind!r}),"
            " which is not supported"
        )


def _require_ends(decoder: Decoder, materials: Materials) -> Sequence[LayerCall]:
    """Hold what is before, between and behind the layers against the description; return how the layers are called."""
    answers: list[torch.Tensor] = []

    def answer(hidden: torch.Tensor) -> torch.Tensor:
        answers.append(30 * materials.normal(*hidden.shape))
        return answers[-1]

    model: Any = decoder.model
    head: Any = decoder.head
    # Caps of logits show where these are large.
    head.gain = LARGE
    ids = torch.arange(_SEQUENCES * _TOKENS).view(_SEQUENCES, _TOKENS) % NUM_TOKENS
    with recorded_layers(model, answer) as calls:
        logits = model(input_ids=ids, use_cache=False).logits
    if [call.index for call in calls] != list(range(len(decoder.blocks))):
        raise ModelError(
            f"{type(model).__name__} runs its {len(decoder.blocks)} layers in the order"
            f" {[call.index for call in calls]}; each once, in their order, is supported"
        )
    _require_embedding(calls[0].hidden, decoder.embedding.weight[ids])
    for call, given in zip(calls[1:], answers, strict=False):
        if not same(call.hidden, given):
            raise ModelError(f"{block_name(call.index)} is not given what the layer before it returns")
    for call in calls:
        _require_known_arguments(call, calls[0])
    norm: Any = decoder.norm
    expected = head(rms_norm(answers[-1], norm.weight)) * decoder.logit_scale
    if not same(logits, expected):
        raise ModelError(
            f"the logits of {type(model).__name__} are not {HEAD}(norm(x)) * {decoder.logit_scale:g}: something else"
            " scales, caps or changes them"
        )
    return calls


def _require_embedding(hidden: torch.Tensor, rows: torch.Tensor) -> None:
    """Raise ModelError where the first layer is not given rows of the table times one number."""
    if not same(hidden, rows * (hidden * rows).sum() / rows.square().sum()):
        raise ModelError(f"the first layer is not given rows of {EMBEDDING} times one number")


def _require_known_arguments(call: LayerCall, first: LayerCall) -> None:
    """Raise ModelError for what goes beside hidden states if it is not known, or not the same in every layer."""
    name = block_name(call.index)
    if strange := sorted(key for key, value in call.beside.items() if key not in BESIDE and is_given(value)):
        raise ModelError(f"{name} is given {', '.join(strange)}; known beside hidden states are {', '.join(BESIDE)}")
    if missing := [key for key in BESIDE if key not in call.beside]:
        raise ModelError(f"{name} is not given {', '.join(missing)}")
    for key in BESIDE:
        if not equal(call.beside[key], first.beside[key]):
            raise ModelError(f"{name} is given another {key} than {block_name(0)}: all layers alike are supported")


def _require_mask(call: LayerCall, window: int | None) -> None:
    """Raise ModelError where tokens do not see all before them, or the last ones of a window."""
    mask = call.beside["attention_mask"]
    far = torch.arange(_TOKENS)[:, None] - torch.arange(_TOKENS)
    expected = (far >= 0) & (far < (window or _TOKENS))
    if mask is None and window is None:
        return
    if mask is None or not bool(((mask if mask.dtype == torch.bool else mask == 0) == expected).all()):
        seen = "all tokens before it" if window is None else "the tokens of sliding_window"
        raise ModelError(f"attention_mask of {block_name(0)} does not let a token see {seen}, and no other")
