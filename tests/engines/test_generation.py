"""The same items give the same answers: from run to run, at any batch size, in any company."""

import dataclasses

import pytest
import torch

import quantguard
from quantguard import benchmarks
from quantguard.benchmarks import choose_subset
from quantguard.engines._prompting import Request, render
from quantguard.engines.transformers import generation as engine
from quantguard.engines.transformers.decoding import sample
from quantguard.errors import QuantguardError
from quantguard.modeling import LoadedModel
from quantguard.records import Generation, GenerationConfig
from quantguard.tiny_reasoner import tokenizer
from quantguard.tiny_reasoner.problems import MODES
from quantguard.tiny_reasoner.tokenizer import prompt

GREEDY = GenerationConfig(max_new_tokens=160)
SAMPLED = GenerationConfig(max_new_tokens=160, temperature=0.8, top_p=0.95, seed=3)


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    torch.set_num_threads(1)
    return quantguard.load("tiny-reasoner")


def requests(count: int, epoch: int = 0) -> list[Request]:
    samples = choose_subset(benchmarks.members["word-problems"].load(), count, seed=5)
    return [Request(sample_id=sample.id, epoch=epoch, text=sample.input) for sample in samples]


def answers(
    model: LoadedModel, count: int, config: GenerationConfig, *, batch_size: int, epoch: int = 0
) -> list[Generation]:
    asked, found = requests(count, epoch), dict[str, Generation]()
    engine.generate(
        model, asked, config, batch_size=batch_size, finished=lambda one: found.update({one.sample_id: one})
    )
    return [found[request.sample_id] for request in asked]


@pytest.mark.parametrize("config", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_batch_size_and_company_do_not_matter(model: LoadedModel, config: GenerationConfig) -> None:
    expected = answers(model, 24, config, batch_size=24)
    assert answers(model, 24, config, batch_size=24) == expected
    assert answers(model, 24, config, batch_size=5) == expected
    assert answers(model, 6, config, batch_size=1) == expected[:6]


def test_a_quantized_model_answers_alike_at_any_batch_size(model: LoadedModel) -> None:
    quantized = quantguard.quantize(model, recipe="w8a8")
    assert answers(quantized, 24, GREEDY, batch_size=24) == answers(quantized, 24, GREEDY, batch_size=7)


def test_greedy_agrees_with_transformers_generate(model: LoadedModel) -> None:
    for request, found in zip(requests(6), answers(model, 6, GREEDY, batch_size=6), strict=True):
        ids = model.tokenizer(render(model, request.text, None), return_tensors="pt", add_special_tokens=False)
        output = model.model.generate(
            input_ids=ids["input_ids"], attention_mask=ids["attention_mask"], max_new_tokens=160, do_sample=False
        )
        text = model.tokenizer.decode(output[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        assert found.text == text


def test_epochs_and_seeds_differ_when_sampling(model: LoadedModel) -> None:
    hot = dataclasses.replace(SAMPLED, temperature=4.0)
    first = [g.text for g in answers(model, 8, hot, batch_size=8)]
    assert first != [g.text for g in answers(model, 8, hot, batch_size=8, epoch=1)]
    assert first != [g.text for g in answers(model, 8, dataclasses.replace(hot, seed=4), batch_size=8)]


def test_the_template_writes_what_training_taught(model: LoadedModel) -> None:
    assert model.tokenizer.chat_template == tokenizer._CHAT_TEMPLATE
    for mode in MODES:
        assert render(model, "Hi there.", mode) == prompt("Hi there.", mode)


def test_logits_that_are_nan_are_an_error(model: LoadedModel) -> None:
    broken = quantguard.quantize(model, recipe="w8a8")
    broken.model.model.layers[2].mlp.down_proj.weight_scale.fill_(float("nan"))
    with pytest.raises(QuantguardError, match="computes NaN"):
        answers(broken, 2, GREEDY, batch_size=2)


def test_the_limit_is_kept_and_named(model: LoadedModel) -> None:
    for generation in answers(model, 4, GenerationConfig(max_new_tokens=3), batch_size=4):
        assert (generation.num_tokens, generation.finish_reason) == (3, "length")


def test_modes_change_the_prompt_and_unknown_ones_are_refused(model: LoadedModel) -> None:
    assert "/no_think" in render(model, "Hi.", "no_think")
    assert "/" not in render(model, "Hi.", "slow_think").replace("<|im_end|>", "")
    with pytest.raises(QuantguardError, match="it has slow_think, auto_think, no_think"):
        render(model, "Hi.", "fast_think")


def test_a_mode_is_refused_where_the_template_has_none(model: LoadedModel) -> None:
    plain = dataclasses.replace(model, tokenizer=_Plain())
    assert render(plain, "Hi.", None) == "Hi."
    with pytest.raises(QuantguardError, match="has no thinking modes"):
        render(plain, "Hi.", "no_think")


class _Plain:
    chat_template = None


def test_a_prompt_that_does_not_fit_is_named(model: LoadedModel) -> None:
    with pytest.raises(QuantguardError, match=r"exceed the context of tiny-reasoner, 512 tokens"):
        answers(model, 1, GenerationConfig(max_new_tokens=500), batch_size=1)


def test_sampling_follows_the_distribution() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).repeat(4000, 1)
    draws = torch.rand(4000, 1, generator=torch.Generator().manual_seed(0))
    counts = torch.bincount(sample(logits, 1.0, draws), minlength=4) / 4000
    torch.testing.assert_close(counts, torch.tensor([0.5, 0.3, 0.15, 0.05]), atol=0.03, rtol=0)
    nucleus = torch.bincount(sample(logits, 0.75, draws), minlength=4) / 4000
    torch.testing.assert_close(nucleus, torch.tensor([0.625, 0.375, 0.0, 0.0]), atol=0.03, rtol=0)
