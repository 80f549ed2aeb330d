"""The law of families: an architecture is right on every route, or it is refused by the name of what differs."""

import copy
import dataclasses
import pathlib
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch import nn

import quantguard
from quantguard.errors import ModelError
from quantguard.modeling import descriptions, embed, find_decoder, require_described
from quantguard.modeling.descriptions import GATED
from quantguard.modeling.layer_inputs import first_inputs
from quantguard.modeling.streaming import skeleton
from tests.support.small_models import SIZES, WINDOW, broken_laws, save, small_config, small_model

SUPPORTED: dict[str, tuple[str, dict[str, Any]]] = {
    "llama with biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "qwen2, tied": ("qwen2", {"tie_word_embeddings": True}),
    "qwen3, gelu": ("qwen3", {"hidden_act": "gelu_pytorch_tanh"}),
    "mistral, windows": ("mistral", {"sliding_window": WINDOW}),
    "mistral": ("mistral", {"sliding_window": None}),
    "granite": (
        "granite",
        {
            "embedding_multiplier": 12.0,
            "residual_multiplier": 0.22,
            "attention_multiplier": 0.125,
            "logits_scaling": 8.0,
            "tie_word_embeddings": True,
        },
    ),
    "ernie4_5": ("ernie4_5", {}),
    "helium": ("helium", {}),
    "ministral3": ("ministral3", {}),
    "seed_oss": ("seed_oss", {}),
    "smollm3": ("smollm3", {}),
}
FULL = {"layer_types": ["full_attention"] * SIZES["num_hidden_layers"]}
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "gemma": ("gemma", {}, r"model\.embed_tokens\.embed_scale belongs to a GemmaTextScaledWordEmbedding"),
    "gemma2": ("gemma2", FULL, r"model\.embed_tokens\.embed_scale belongs to a Gemma2TextScaled"),
    "gemma2, windows": ("gemma2", {}, r"gemma2 has layers of type sliding_attention in layer_types"),
    "olmo": ("olmo", {}, r"model\.norm is a OlmoLayerNorm without a weight"),
    "olmo2": ("olmo2", {}, r"layers\.0\.post_feedforward_layernorm is a Olmo2RMSNorm with weight"),
    "hyperclovax": ("hyperclovax", {}, r"layers\.0\.post_norm1 is a HyperCLOVAXRMSNorm with weight"),
    "bitnet": ("bitnet", {}, r"self_attn\.attn_sub_norm is a BitNetRMSNorm with weight"),
    "doge": ("doge", {}, r"doge has keep_window_size = 2048"),
    "diffllama": ("diffllama", {}, r"layers\.0\.self_attn\.lambda_q1 belongs to a DiffLlamaAttention"),
    "cohere": ("cohere", {}, r"CohereDecoderLayer without post_attention_layernorm"),
    "stablelm": ("stablelm", {}, r"model\.norm\.bias belongs to a LayerNorm"),
    "gpt_oss": ("gpt_oss", {}, r"sliding_attention in layer_types"),
    "qwen2, windows": ("qwen2", {"use_sliding_window": True, "max_window_layers": 0}, r"sliding_attention"),
    "qwen3_moe": ("qwen3_moe", {}, r"mlp is a Qwen3MoeSparseMoeBlock without a float gate_proj"),
    "deepseek_v3": ("deepseek_v3", {}, r"self_attn\.q_a_proj is a Linear with weight"),
    "phi3": ("phi3", {}, r"mlp is a Phi3MLP without a float gate_proj"),
    "nanochat": ("nanochat", {}, r"model\.norm is a NanoChatRMSNorm without a weight"),
    "hunyuan_v1_dense": ("hunyuan_v1_dense", {}, r"self_attn\.query_layernorm is a HunYuanDenseV1RMSNorm"),
    "exaone4": ("exaone4", FULL, r"exaone4 has sliding_window_pattern = 4"),
    "llama, long rope": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 1e4,
                "short_factor": [1.0] * 6,
                "long_factor": [4.0] * 6,
                "factor": 2.0,
                "original_max_position_embeddings": 64,
            }
        },
        r"model\.rotary_emb turns a token by an angle that depends on how long the text is \(rope_type 'longrope'\)",
    ),
    "mamba": ("mamba", {}, r"MambaForCausalLM has no decoder layers at model\.layers"),
    "gpt2": ("gpt2", {}, r"GPT2LMHeadModel has no decoder layers at model\.layers"),
}


@pytest.mark.parametrize("family", SUPPORTED)
def test_a_family_that_is_accepted_is_right(family: str, tmp_path: pathlib.Path) -> None:
    kind, settings = SUPPORTED[family]
    assert list(broken_laws(small_model(kind, **settings), tmp_path)) == []


@pytest.mark.parametrize("family", REFUSED)
def test_a_family_that_is_not_is_refused_by_what_differs(family: str) -> None:
    kind, settings, complaint = REFUSED[family]
    with pytest.raises(ModelError, match=complaint):
        require_described(skeleton(small_config(kind, **settings), torch.float32))


@pytest.mark.parametrize("way", ["in memory", "streamed"])
def test_it_is_refused_on_every_way_from_a_folder(way: str, tmp_path: pathlib.Path) -> None:
    folder = save(small_model("hyperclovax"), tmp_path / "model")
    with pytest.raises(ModelError, match=r"post_norm1 is a HyperCLOVAXRMSNorm"):
        quantguard.load(folder) if way == "in memory" else quantguard.quantize_to_folder(
            folder, "w8a8", tmp_path / "quantized"
        )


def test_another_shape_is_another_description(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data alone lets an architecture in, on every route."""
    attention = dataclasses.replace(GATED.attention, norms=("query_layernorm", "key_layernorm"))
    other = dataclasses.replace(GATED, attention=attention)
    monkeypatch.setattr(descriptions, "DESCRIPTIONS", (GATED, other))
    model = small_model("hunyuan_v1_dense")
    assert list(broken_laws(model, tmp_path)) == []
    assert find_decoder(model).blocks[0].description is other
    with pytest.raises(ModelError, match=r"mlp is a Phi3MLP without a float gate_proj"):
        require_described(skeleton(small_config("phi3"), torch.float32))


def test_the_law_catches_a_window_that_is_passed_over(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantguard.modeling.slots.window_of", lambda _config: None)
    assert "it generates what transformers does" in broken_laws(small_model("mistral", sliding_window=WINDOW), tmp_path)


def test_the_law_catches_a_multiplier_that_calibration_leaves_out(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = first_inputs

    def without_multiplier(model: Any, ids: torch.Tensor) -> Any:
        return model.model.embed_tokens(ids).detach(), seen(model, ids)[1]

    monkeypatch.setattr("quantguard.modeling.calibrating.first_inputs", without_multiplier)
    model = small_model("granite", embedding_multiplier=12.0)
    assert "calibration sees what the model computes" in broken_laws(model, tmp_path)


def test_calibration_begins_with_what_the_model_gives_its_first_layer() -> None:
    model = small_model("granite", embedding_multiplier=12.0)
    ids = torch.arange(3, 20)[None]
    seen: list[torch.Tensor] = []
    hook = model.model.layers[0].register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    with torch.no_grad():
        model(input_ids=ids)
    hook.remove()
    found = embed(find_decoder(model), ids.tolist()).batches[0]
    assert torch.equal(found.hidden, seen[0])
    assert torch.equal(found.hidden, 12.0 * model.model.embed_tokens.weight[ids])


def llama() -> Any:
    return small_model("llama")


def replaced(module: nn.Module, forward: Callable[..., Any]) -> None:
    """Give one module another forward, as its class would have it."""
    module.forward = types.MethodType(forward, module)


def one_more(norm: Any, x: torch.Tensor) -> Any:
    return (1 + norm.weight) * x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()


def without_mean(norm: Any, x: torch.Tensor) -> torch.Tensor:
    return nn.functional.layer_norm(x, norm.weight.shape, norm.weight)


def times(factor: float) -> Callable[..., Any]:
    def forward(module: Any, *args: Any, **kwargs: Any) -> Any:
        output = type(module).forward(module, *args, **kwargs)
        return (output[0] * factor, *output[1:]) if isinstance(output, tuple) else output * factor

    return forward


def another_gate(mlp: Any, x: torch.Tensor) -> torch.Tensor:
    y: torch.Tensor = mlp.down_proj(mlp.act_fn(mlp.up_proj(x)) * mlp.gate_proj(x))
    return y


def limited(mlp: Any, x: torch.Tensor) -> torch.Tensor:
    y: torch.Tensor = mlp.down_proj(mlp.act_fn(mlp.gate_proj(x)).clamp(max=30) * mlp.up_proj(x))
    return y


def clipped_values(attention: Any, hidden_states: torch.Tensor, **beside: Any) -> Any:
    linear = attention.v_proj
    hook = linear.register_forward_hook(lambda _module, _args, output: output.clamp(-20, 20))
    try:
        return type(attention).forward(attention, hidden_states, **beside)
    finally:
        hook.remove()


def in_parallel(layer: Any, hidden_states: torch.Tensor, **beside: Any) -> torch.Tensor:
    normed = layer.input_layernorm(hidden_states)
    y: torch.Tensor = (
        hidden_states
        + layer.self_attn(hidden_states=normed, **beside)[0]
        + layer.mlp(layer.post_attention_layernorm(hidden_states))
    )
    return y


def capped(model: Any, *args: Any, **kwargs: Any) -> Any:
    output = type(model).forward(model, *args, **kwargs)
    output.logits = 5000 * torch.tanh(output.logits / 5000)
    return output


def with_parameter(name: str) -> Callable[[Any], None]:
    def fault(model: Any) -> None:
        model.get_submodule(name).register_parameter("unused", nn.Parameter(torch.ones(3)))

    return fault


def with_child(name: str) -> Callable[[Any], None]:
    def fault(model: Any) -> None:
        model.get_submodule(name).add_module("more", nn.Linear(3, 3))

    return fault


def with_forward(name: str, forward: Callable[..., Any]) -> Callable[[Any], None]:
    return lambda model: replaced(model.get_submodule(name), forward)


def swapped_activation(model: Any) -> None:
    model.model.layers[1].mlp.act_fn = nn.GELU()


def one_norm_twice(model: Any) -> None:
    model.model.layers[2].input_layernorm = model.model.layers[0].input_layernorm


def not_causal(model: Any) -> None:
    model.model.layers[1].self_attn.is_causal = False


FAULTS: dict[str, tuple[Callable[[Any], None], str]] = {
    "a norm multiplies by 1 + weight": (
        with_forward("model.layers.1.input_layernorm", one_more),
        r"model\.layers\.1\.input_layernorm is a LlamaRMSNorm that multiplies by 1 \+ weight",
    ),
    "a norm removes the mean": (
        with_forward("model.layers.2.post_attention_layernorm", without_mean),
        r"model\.layers\.2\.post_attention_layernorm is a LlamaRMSNorm that removes the mean",
    ),
    "the final norm is twice as large": (with_forward("model.norm", times(2.0)), r"model\.norm is a LlamaRMSNorm that"),
    "a parameter of a layer is unused": (with_parameter("model.layers.1"), r"model\.layers\.1\.unused belongs to"),
    "a parameter of attention is unused": (
        with_parameter("model.layers.1.self_attn"),
        r"model\.layers\.1\.self_attn\.unused belongs to",
    ),
    "a parameter of a linear is unused": (
        with_parameter("model.layers.1.mlp.up_proj"),
        r"model\.layers\.1\.mlp\.up_proj\.unused belongs to",
    ),
    "a parameter of the model is unused": (with_parameter("model"), r"model\.unused belongs to"),
    "a child of the mlp is unused": (with_child("model.layers.0.mlp"), r"model\.layers\.0\.mlp\.more is a Linear"),
    "a child beside the head is unused": (with_child(""), r"LlamaForCausalLM\.more is a Linear"),
    "an activation is swapped": (
        swapped_activation,
        r"model\.layers\.1 .* mlp\.down_proj does not read silu\(gate_proj\(x\)\) \* up_proj\(x\)",
    ),
    "gate and up are swapped": (
        with_forward("model.layers.0.mlp", another_gate),
        r"model\.layers\.0 .* mlp\.down_proj does not read",
    ),
    "attention is multiplied by 12": (
        with_forward("model.layers.1.self_attn", times(12.0)),
        r"model\.layers\.1 .* mlp\.gate_proj does not read post_attention_layernorm\(x \+ self_attn",
    ),
    "the mlp is multiplied by 12": (
        with_forward("model.layers.1.mlp", times(12.0)),
        r"model\.layers\.1 .* the output is not x \+ self_attn",
    ),
    "values are clipped": (
        with_forward("model.layers.0.self_attn", clipped_values),
        r"model\.layers\.0 .* values are not those of self_attn\.v_proj",
    ),
    "a gate is limited": (
        with_forward("model.layers.2.mlp", limited),
        r"model\.layers\.2 .* mlp\.down_proj does not read",
    ),
    "attention and mlp are parallel": (
        with_forward("model.layers.1", in_parallel),
        r"model\.layers\.1 .* mlp\.gate_proj does not read",
    ),
    "logits are capped": (
        with_forward("", capped),
        r"the logits of LlamaForCausalLM are not lm_head\(norm\(x\)\) \* 1",
    ),
    "layers share a norm": (one_norm_twice, r"layers\.2\.input_layernorm\.weight and .* are one parameter"),
    "attention is not causal": (not_causal, r"model\.layers\.1 .* attention is not causal"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_difference_is_refused_by_name(fault: str) -> None:
    model = llama()
    require_described(model)
    plant, complaint = FAULTS[fault]
    plant(model)
    with pytest.raises(ModelError, match=complaint):
        require_described(model)


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        pytest.param("attention_chunk_size", 8192, "llama has attention_chunk_size = 8192", id="attention in chunks"),
        pytest.param("hidden_act", "gelu", r"mlp\.down_proj does not read gelu\(gate", id="another activation"),
        pytest.param("logits_scaling", 8.0, r"are not lm_head\(norm\(x\)\) \* 0\.125", id="logits that are not scaled"),
        pytest.param("_attn_implementation", "eager", "runs attention by 'eager'", id="another attention"),
        pytest.param("sliding_window", 7, "attention_mask of model.layers.0", id="a window that is not honoured"),
    ],
)
def test_a_configuration_that_the_model_does_not_follow_is_refused(field: str, value: Any, complaint: str) -> None:
    model = llama()
    setattr(model.config, field, value)
    with pytest.raises(ModelError, match=complaint):
        require_described(model)


def test_a_look_at_the_structure_changes_nothing() -> None:
    model = llama()
    before = copy.deepcopy(model.state_dict())
    settings = model.config.to_dict()
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        logits = model(input_ids=ids).logits
        require_described(model)
        assert torch.equal(model(input_ids=ids).logits, logits)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.config.to_dict() == settings
    assert model.config._attn_implementation == "sdpa"


def test_a_large_model_is_looked_at_without_its_weights() -> None:
    config = transformers.Qwen2Config(num_hidden_layers=2, hidden_size=8192, intermediate_size=29568, vocab_size=152064)
    decoder = require_described(skeleton(config, torch.bfloat16))
    assert decoder.head.weight.is_meta
