"""What is asked of vLLM and made of its answers; a module of its shape stands in for it, so vLLM itself was not run."""

import dataclasses
import importlib.machinery
import pathlib
import sys
import types
from typing import Any

import pytest

import quantguard
from quantguard.engines import vllm as engine
from quantguard.engines._prompting import Request, render
from quantguard.errors import QuantguardError
from quantguard.modeling import LoadedModel
from quantguard.pipeline.in_process import InProcess
from quantguard.records import Generation, GenerationConfig, Question

CONFIG = GenerationConfig(max_new_tokens=9, temperature=0.5, top_p=0.9, seed=3)


@dataclasses.dataclass(kw_only=True)
class SamplingParams:
    """The fields of vLLM's that are used."""

    max_tokens: int
    temperature: float
    top_p: float
    seed: int


class LLM:
    """Answers with the number of tokens in the prompt."""

    calls: list[tuple[list[Any], list[SamplingParams]]]
    reason: str = "stop"

    def __init__(self, model: str, *, seed: int) -> None:
        self.model, self.seed = model, seed

    def generate(
        self, prompts: list[dict[str, list[int]]], sampling_params: list[SamplingParams], *, use_tqdm: bool
    ) -> list[Any]:
        assert use_tqdm is False
        if any(len(prompt["prompt_token_ids"]) > 200 for prompt in prompts):
            raise ValueError("the prompt is longer than the model's context")
        type(self).calls.append((prompts, sampling_params))
        return [
            types.SimpleNamespace(
                outputs=[
                    types.SimpleNamespace(
                        text=str(len(p["prompt_token_ids"])), token_ids=(1, 2), finish_reason=type(self).reason
                    )
                ]
            )
            for p in prompts
        ]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[LLM]:
    class Fresh(LLM):
        calls: list[tuple[list[Any], list[SamplingParams]]] = []  # noqa: RUF012 - one list a test

    module, platforms = types.ModuleType("vllm"), types.ModuleType("vllm.platforms")
    vars(module).update(LLM=Fresh, SamplingParams=SamplingParams)
    module.__spec__ = importlib.machinery.ModuleSpec("vllm", None)
    vars(platforms).update(current_platform=types.SimpleNamespace(device_type="npu"))
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setitem(sys.modules, "vllm.platforms", platforms)
    engine._load.cache_clear()
    return Fresh


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return quantguard.load("tiny-reasoner")


def ask(subject: engine.Offline, texts: list[str], *, batch_size: int = 2) -> list[Generation]:
    requests = [Request(sample_id=f"s{i}", epoch=0, text=text) for i, text in enumerate(texts)]
    found: list[Generation] = []
    subject.generate(requests, CONFIG, batch_size=batch_size, finished=found.append)
    return found


def test_prompts_go_as_tokens_of_the_models_template_with_a_seed_each(fake: type[LLM], model: LoadedModel) -> None:
    subject = engine.connect("tiny-reasoner", url=None)
    found = ask(subject, ["a?", "How many?", "c"])
    prompts = [model.tokenizer(render(model, t, None))["input_ids"] for t in ("a?", "How many?", "c")]
    assert [prompt["prompt_token_ids"] for call, _ in fake.calls for prompt in call] == prompts
    assert [len(call) for call, _ in fake.calls] == [2, 1]
    assert [one.text for one in found] == [str(len(prompt)) for prompt in prompts]
    asked = [params for _, call in fake.calls for params in call]
    assert len({params.seed for params in asked}) == 3
    assert {(params.max_tokens, params.temperature, params.top_p) for params in asked} == {(9, 0.5, 0.9)}
    assert found[0].num_tokens == 2
    assert subject.platform == "vllm-npu"
    ours, theirs = (one.fingerprint(Question(), batch_size=1) for one in (InProcess(model), subject))
    assert theirs.model.weights == model.weights_sha256
    assert theirs.model.config == ours.model.config
    assert theirs.question == ours.question


def test_an_answer_that_was_broken_off_or_refused_is_an_error(fake: type[LLM]) -> None:
    subject = engine.connect("tiny-reasoner", url=None)
    with pytest.raises(QuantguardError, match=r"refuses a request to .*longer than"):
        ask(subject, ["word " * 500])
    fake.reason = "abort"
    with pytest.raises(QuantguardError, match="broke sample s0 off: finish_reason 'abort'"):
        ask(subject, ["a?"])


def test_without_vllm_or_with_an_address_the_engine_says_what_to_do(fake: type[LLM]) -> None:
    with pytest.raises(QuantguardError, match="leave both out"):
        engine.connect("tiny-reasoner", url="http://localhost:8000/v1")
    del fake, sys.modules["vllm"]
    with pytest.raises(QuantguardError, match="pip install vllm"):
        engine.connect("tiny-reasoner", url=None)


def test_a_model_that_is_not_there_is_named(fake: type[LLM], tmp_path: pathlib.Path) -> None:
    del fake
    with pytest.raises(QuantguardError, match="nowhere"):
        engine.connect(str(tmp_path / "nowhere"), url=None)
