"""What a baseline must share with a run: all that decides an answer, each by a name, and nothing that does not."""

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import pytest

import quantguard
from quantguard import registry
from quantguard.benchmarks import Task
from quantguard.engines._prompting import render
from quantguard.errors import QuantguardError
from quantguard.modeling import LoadedModel
from quantguard.modeling.loading import find_folder
from quantguard.pipeline import provenance
from quantguard.pipeline.in_process import InProcess
from quantguard.pipeline.session import PipelineSession, RunState, open_session
from quantguard.records import Fingerprint, GenerationConfig
from quantguard.run_options import RunOptions, Target

GREEDY = GenerationConfig(max_new_tokens=20)


def fingerprint(model: LoadedModel, benchmark: str = "word-problems", mode: str | None = None) -> Fingerprint:
    data = registry.benchmarks[benchmark].load()
    config = dataclasses.replace(GREEDY, mode=mode)
    return provenance.fingerprint(InProcess(model), data, config, batch_size=8)


@pytest.fixture(scope="module")
def usual() -> Fingerprint:
    return fingerprint(quantguard.load("tiny-reasoner"))


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(find_folder("tiny-reasoner"), tmp_path / "another-place"))


def edit(file: pathlib.Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("file", "fields", "said"),
    [
        pytest.param(
            "config.json", {"rms_norm_eps": 1e-5}, ["config.rms_norm_eps was 1e-06, is 1e-05"], id="rms_norm_eps"
        ),
        pytest.param(
            "config.json",
            {"rope_parameters": {"rope_theta": 10050.0, "rope_type": "default"}},
            ["config.rope_parameters.rope_theta was 10000, is 10050"],
            id="rope_theta",
        ),
        pytest.param(
            "generation_config.json", {"eos_token_id": [2, 13]}, ["stop_ids was 2, is 2 13"], id="one more end"
        ),
        pytest.param("generation_config.json", {"temperature": 0.6}, [], id="sampling that the engine is not told by"),
        pytest.param("config.json", {"transformers_version": "4.51.0"}, [], id="another version of transformers"),
    ],
)
def test_a_changed_file_is_told_by_the_field(
    file: str, fields: dict[str, Any], said: list[str], folder: pathlib.Path, usual: Fingerprint
) -> None:
    edit(folder / file, lambda content: content.update(fields))
    model = dataclasses.replace(quantguard.load(folder, dtype="float32"), name="tiny-reasoner")
    assert list(map(str, usual.differences(fingerprint(model)))) == said


def test_a_copy_is_the_same_model(folder: pathlib.Path, usual: Fingerprint) -> None:
    assert fingerprint(quantguard.load(folder, dtype="float32")) == usual


def test_other_tokens_of_the_same_text_are_another_run(usual: Fingerprint, monkeypatch: pytest.MonkeyPatch) -> None:
    model = quantguard.load("tiny-reasoner")
    plain = type(model.tokenizer)

    def other(self: Any, text: Any, **more: Any) -> Any:
        return plain.__call__(self, [t.lower() for t in text] if isinstance(text, list) else text.lower(), **more)

    monkeypatch.setattr(model.tokenizer, "__class__", type(plain.__name__, (plain,), {"__call__": other}))
    [found] = usual.differences(fingerprint(model))
    assert str(found).startswith("tokens was 1200 prompts, 53048 tokens, ")


@pytest.mark.parametrize("benchmark", ["word-problems", "capitals", "text-fidelity"])
def test_the_tokens_of_every_kind_of_benchmark_are_bound(benchmark: str) -> None:
    model = quantguard.load("tiny-reasoner")
    assert " tokens, " in str(fingerprint(model, benchmark).question.tokens)


def test_thinking_modes_have_tokens_of_their_own() -> None:
    model = quantguard.load("tiny-reasoner")
    assert len({fingerprint(model, mode=mode).question.tokens for mode in ("slow_think", "no_think")}) == 2


def test_a_template_that_writes_the_date_writes_the_same_one_every_day() -> None:
    model = quantguard.load("tiny-reasoner")
    model.tokenizer.chat_template = "Today is {{ strftime_now('%d %b %Y') }}. {{ messages[0].content }}"
    assert render(model, "Hello", None) == "Today is 01 Jan 2026. Hello"


def opened(folder: pathlib.Path, *, limit: int | None = None, backend: str = "auto") -> tuple[PipelineSession, Task]:
    options = RunOptions(baselines=folder, limit=limit)
    session = open_session(Target(model="tiny-reasoner", recipe="w8a8", backend=backend), options, RunState())
    return session, Task(name="word-problems", benchmark=session.benchmarks["word-problems"], config=GREEDY)


@pytest.mark.parametrize("limit", [None, 50])
def test_a_smaller_subset_has_the_fingerprint_of_the_larger_one(limit: int | None, tmp_path: pathlib.Path) -> None:
    session, task = opened(tmp_path, limit=limit)
    record = session.run(task, task.draw(limit or 3)[:2])
    other_seed = dataclasses.replace(task, config=dataclasses.replace(GREEDY, seed=5))
    assert record.fingerprint == session.fingerprint(other_seed)


def test_a_candidate_that_is_its_own_reference_answers_nothing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantguard.pipeline.session.full_precision_of", lambda loaded: loaded)
    session, task = opened(tmp_path)
    with pytest.raises(QuantguardError, match="w8a8 computes what full precision does, to the last bit"):
        session.run(task, task.draw(2))


def test_a_backend_is_not_compared_with_itself(tmp_path: pathlib.Path) -> None:
    session, _ = opened(tmp_path, backend="reference")
    layers = session.measure("layers", gate="layerwise")
    with pytest.raises(QuantguardError, match="runs on the kernels of 'reference' itself"):
        layers.errors("reference")
    assert max(error.relative_error for error in layers.errors("cpu")) < 0.02
