"""A measure is a file: found by its name, handed both models, asked through a session."""

import inspect
import pathlib
import types
from typing import Any

import pytest

from quantguard import registry
from quantguard.errors import QuantguardError, UsageError
from quantguard.gates import Session
from quantguard.pipeline.session import PipelineSession, RunState, open_session
from quantguard.run_options import RunOptions, Target


@pytest.fixture(scope="module")
def session() -> Session:
    """Return what gates are handed, which mypy holds to their Protocol."""
    return open_session(Target(model="tiny-reasoner", recipe="w8a8"), RunOptions(), RunState())


@pytest.mark.parametrize("name", sorted(registry.measures))
def test_every_measure_takes_both_models_and_keywords_alone(name: str) -> None:
    first, *settings = inspect.signature(registry.measures[name].measure).parameters.values()
    assert first.name == "models"
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in settings)


def test_what_measures_share_is_no_measure() -> None:
    assert not [name for name in registry.measures if name.startswith(("_", "decode"))]


def test_an_unknown_measure_is_refused_by_name(session: Session) -> None:
    with pytest.raises(QuantguardError, match=r"'timings'.*timing"):
        session.measure("timings", gate="latency")


def test_a_measure_of_another_distribution_is_found_by_its_name(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a new measure needs is its file: a gate asks for it by name and has its keywords handed on."""
    named = types.ModuleType("planted")
    named.measure = lambda models, *, num: (models.candidate.name, num)  # type: ignore[attr-defined]
    monkeypatch.setattr(type(registry.measures), "__getitem__", lambda _self, name: {"planted": named}[name])
    assert session.measure("planted", gate="any", num=3) == ("tiny-reasoner", 3)


def test_weights_are_those_of_both_models(session: Session) -> None:
    weights = session.measure("weights", gate="memory")
    assert 0.2 < weights.candidate / weights.stored < 0.6


def test_a_model_that_is_not_here_is_not_measured(tmp_path: pathlib.Path) -> None:
    class Served:
        """A model of another program."""

        name, recipe, served, platform, notes, engine = "m", None, True, "endpoint", (), "openai"

    served: Any = Served()
    session = PipelineSession(served, None, RunOptions(baselines=tmp_path), RunState())
    with pytest.raises(UsageError, match="a memory gate measures a model of this process, and m answers by the engine"):
        session.measure("weights", gate="memory")
