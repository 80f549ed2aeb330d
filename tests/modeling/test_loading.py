"""Models load by name or path; what is none, or not supported, is refused by name."""

import json
import pathlib

import pytest
import tokenizers
import torch
import transformers

import quantguard
from quantguard.errors import QuantguardError
from quantguard.modeling import find_blocks
from quantguard.modeling.swapping import weight_bytes


def tiny_config() -> transformers.LlamaConfig:
    return transformers.LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
    )


def test_a_name_that_is_nothing_lists_what_there_is() -> None:
    with pytest.raises(QuantguardError, match=r"no short name \(smollm2-135m, tiny-reasoner\)"):
        quantguard.load("tiny-reasonr")


def test_a_model_of_the_catalogue_that_is_not_here_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setenv("QUANTGUARD_CACHE", str(tmp_path))
    with pytest.raises(QuantguardError, match="Type: quantguard fetch smollm2-135m"):
        quantguard.load("smollm2-135m")


def test_a_tokenizer_splits_text_as_its_file_says() -> None:
    loaded = quantguard.load("tiny-reasoner")
    folder = pathlib.Path(loaded.model.config._name_or_path)
    stored = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    text = "Tom has 35 pens. Then Tom buys 14 more. <think>\n1) 35+14: 5+4=9, 3+1=4, 49\n</think>"
    assert loaded.tokenizer(text)["input_ids"] == stored.encode(text).ids


def test_a_model_that_is_no_causal_language_model_is_refused(tmp_path: pathlib.Path) -> None:
    transformers.BertConfig(architectures=["BertForMaskedLM"]).save_pretrained(tmp_path)
    with pytest.raises(QuantguardError, match=r"not a causal language model: its architecture is BertForMaskedLM"):
        quantguard.load(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(QuantguardError, match=r"expected a folder with config\.json"):
        quantguard.load(tmp_path)


def test_weights_of_another_kind_are_refused(tmp_path: pathlib.Path) -> None:
    tiny_config().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["LlamaForCausalLM"]}))
    with pytest.raises(QuantguardError, match=r"has no model\.safetensors"):
        quantguard.load(tmp_path)


def test_a_mixture_of_experts_is_refused_by_name() -> None:
    config = transformers.MixtralConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_local_experts=2,
        num_experts_per_tok=1,
    )
    with pytest.raises(QuantguardError, match=r"mixture of experts|without mlp"):
        find_blocks(transformers.MixtralForCausalLM(config))


def test_a_model_without_decoder_layers_is_refused() -> None:
    with pytest.raises(QuantguardError, match=r"no decoder layers at model\.layers"):
        find_blocks(torch.nn.Linear(2, 2))


def test_tied_weights_are_weighed_once() -> None:
    model = transformers.LlamaForCausalLM(tiny_config())
    untied = weight_bytes(model)
    model.lm_head.weight = model.model.embed_tokens.weight
    assert weight_bytes(model) == untied - 32 * 16 * 4


def test_a_rounding_that_cannot_make_such_weights_is_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "codes.toml"
    path.write_text('rounding = "gptq"\n[weights]\nnum_bits = 2\ntype = "e8p"\nstrategy = "channel"\n')
    with pytest.raises(QuantguardError, match="gptq makes weights of type int, not e8p"):
        quantguard.quantize("tiny-reasoner", recipe=path)


def test_a_group_size_that_does_not_divide_is_said(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "g.toml"
    path.write_text('[weights]\nnum_bits = 4\nstrategy = "group"\ngroup_size = 96\n')
    quantized = quantguard.quantize("tiny-reasoner", recipe=path)
    assert "groups of 96 do not divide 28 of 28 layers" in quantized.notes[0]
    assert "its last group 64" in quantized.notes[0]


def test_ignoring_everything_is_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "i.toml"
    path.write_text('ignore = ["model.layers.*"]\n[weights]\nnum_bits = 8\nstrategy = "channel"\n')
    with pytest.raises(QuantguardError, match="leaves none of 28 linear layers"):
        quantguard.quantize("tiny-reasoner", recipe=path)


def test_a_quantized_model_is_not_quantized_again() -> None:
    quantized = quantguard.quantize("tiny-reasoner", recipe="w8a8")
    with pytest.raises(QuantguardError, match="quantized already, by w8a8"):
        quantguard.quantize(quantized, recipe="w8a8")


def test_quantizing_leaves_the_original_alone() -> None:
    model = quantguard.load("tiny-reasoner")
    before = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    quantguard.quantize(model, recipe="smoothquant-w8a8")
    after = model.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_record_says_which_kernels_ran() -> None:
    quantized = quantguard.quantize("tiny-reasoner", recipe="w8a8", backend="reference")
    record = quantguard.evaluate(quantized, subset=2)
    assert record.kernels == {"int8_linear": "reference (28 layers)", "quantize_per_token": "reference (28 layers)"}


@pytest.fixture
def pangu(tmp_path: pathlib.Path) -> tuple[pathlib.Path, transformers.LlamaForCausalLM]:
    """A small openPangu-Embedded as its authors publish it, and the same network as a Llama with biases."""
    torch.manual_seed(0)
    config = tiny_config()
    config.attention_bias, config.vocab_size = True, len(quantguard.load("tiny-reasoner").tokenizer)
    model = transformers.LlamaForCausalLM(config).train(mode=False)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    model.save_pretrained(tmp_path)
    quantguard.load("tiny-reasoner").tokenizer.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    del stored["attention_bias"], stored["mlp_bias"]
    own = {
        "model_type": "PanguEmbedded",
        "architectures": ["PanguEmbeddedForCausalLM"],
        "auto_map": {"AutoConfig": "configuration_openpangu_dense.PanguEmbeddedConfig"},
        "bias": True,
    }
    (tmp_path / "config.json").write_text(json.dumps(stored | own))
    return tmp_path, model


def test_openpangu_embedded_loads_without_running_its_code(
    pangu: tuple[pathlib.Path, transformers.LlamaForCausalLM],
) -> None:
    folder, model = pangu
    ids = torch.arange(3, 20)[None]
    loaded = quantguard.load(folder)
    assert loaded.model.model.layers[0].self_attn.o_proj.bias is not None
    with torch.no_grad():
        assert torch.equal(loaded.model(ids).logits, model(ids).logits)


def test_openpangu_embedded_streams_and_loads_again(
    pangu: tuple[pathlib.Path, transformers.LlamaForCausalLM], tmp_path: pathlib.Path
) -> None:
    folder, _ = pangu
    ids = torch.arange(3, 20)[None]
    saved = quantguard.quantize_to_folder(folder, "w8a8", tmp_path / "quantized")
    in_memory = quantguard.quantize(quantguard.load(folder), "w8a8")
    with torch.no_grad():
        assert torch.equal(quantguard.load(saved.path).model(ids).logits, in_memory.model(ids).logits)


@pytest.mark.parametrize("way", ["in memory", "streamed"])
def test_weights_without_a_place_are_refused(
    pangu: tuple[pathlib.Path, transformers.LlamaForCausalLM], tmp_path: pathlib.Path, way: str
) -> None:
    folder, _ = pangu
    stored = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(stored | {"bias": False}))
    with pytest.raises(QuantguardError, match=r"4 weights that its architecture does not, such as .*k_proj\.bias"):
        quantguard.load(folder) if way == "in memory" else quantguard.quantize_to_folder(
            folder, "w8a8", tmp_path / "quantized"
        )


def test_a_tokenizer_that_is_code_is_refused(pangu: tuple[pathlib.Path, transformers.LlamaForCausalLM]) -> None:
    folder, _ = pangu
    (folder / "tokenizer.json").unlink()
    settings = {"tokenizer_class": "PanguTokenizer", "auto_map": {"AutoTokenizer": ["tokenization_openpangu.x", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(QuantguardError, match=r"PanguTokenizer.*is code of its own"):
        quantguard.load(folder)
