"""The likelihood of a continuation is that of its tokens, whatever stands beside it in the batch."""

import pytest
import torch

import quantguard
from quantguard.errors import QuantguardError
from quantguard.modeling import LoadedModel
from quantguard.modeling.likelihood import likelihoods

CONTEXT = "Sue has 31 toys."
CONTINUATIONS = [" Then Sue finds 22 more.", " No", " How many toys are left with Sue in the end of it all?"]


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    torch.set_num_threads(1)
    return quantguard.load("tiny-reasoner")


@torch.inference_mode()
def test_it_is_the_sum_over_the_tokens_of_the_continuation(model: LoadedModel) -> None:
    found = likelihoods(model, CONTEXT, CONTINUATIONS)
    start = len(model.tokenizer(CONTEXT)["input_ids"])
    for likelihood, text in zip(found, CONTINUATIONS, strict=True):
        ids = model.tokenizer(CONTEXT + text, return_tensors="pt")["input_ids"]
        logits = model.model(input_ids=ids).logits[0].log_softmax(-1)
        expected = sum(float(logits[place - 1, ids[0, place]]) for place in range(start, ids.shape[1]))
        assert likelihood.log_likelihood == pytest.approx(expected, abs=1e-3)
        assert likelihood.num_tokens == ids.shape[1] - start


def test_company_in_the_batch_has_no_part_in_it(model: LoadedModel) -> None:
    together = likelihoods(model, CONTEXT, CONTINUATIONS)
    for likelihood, text in zip(together, CONTINUATIONS, strict=True):
        [alone] = likelihoods(model, CONTEXT, [text])
        assert alone.log_likelihood == pytest.approx(likelihood.log_likelihood, abs=1e-3)


@pytest.mark.parametrize(("context", "continuation"), [("", " No"), (CONTEXT, "")], ids=["context", "continuation"])
def test_nothing_has_no_likelihood(model: LoadedModel, context: str, continuation: str) -> None:
    with pytest.raises(QuantguardError, match="no token of its own"):
        likelihoods(model, context, [continuation])


def test_nan_is_an_error(model: LoadedModel) -> None:
    broken = quantguard.quantize(model, recipe="w8a8")
    broken.model.model.layers[2].mlp.down_proj.weight_scale.fill_(float("nan"))
    with pytest.raises(QuantguardError, match="computes NaN"):
        likelihoods(broken, CONTEXT, CONTINUATIONS)
