"""Multiple choice: the likeliest answer counts, and only a model whose logits are at hand can choose."""

import dataclasses

import pytest

import quantguard
from quantguard import benchmarks
from quantguard.engines import openai
from quantguard.errors import QuantguardError
from quantguard.modeling import likelihood
from quantguard.pipeline import choosing
from tests.support.gate_runs import run
from tests.support.openai_server import completion, serving

GATE = """
import quantguard

@quantguard.accuracy(benchmark="capitals", tol=0.15{settings})
def test_capitals(guard):
    guard.check("tiny-reasoner", recipe="w8a8")
"""


def test_every_item_has_four_answers_and_one_is_right() -> None:
    data = benchmarks.members["capitals"].load()
    assert len(data.samples) == 88
    for sample in data.samples:
        choices = sample.metadata["choices"]
        assert len(set(choices)) == 4
        assert choices == sorted(choices)
        assert sample.target in choices


def test_the_likeliest_is_chosen_and_per_byte_told_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    [sample] = [sample for sample in benchmarks.members["capitals"].load().samples if sample.id == "france"]
    assert sample.target == "Paris"

    def fixed(_loaded: object, _context: str, texts: list[str]) -> list[likelihood.Likelihood]:
        # Likelier per byte than Paris is only the longest.
        longest = max(texts, key=len)
        values = {" Paris": -6.0, longest: -6.5}
        return [likelihood.Likelihood(values.get(text, -60.0), 1) for text in texts]

    monkeypatch.setattr(choosing, "likelihoods", fixed)
    record = quantguard.evaluate("tiny-reasoner", "capitals", sample_ids=["france"])
    assert (record.scores[0].answer, record.scores[0].explanation) == ("Paris", "log-likelihood")
    assert record.metrics == {"accuracy": 1.0, "accuracy_by_length": 0.0}


@pytest.mark.parametrize("setting", [{"mode": "no_think"}, {"temperature": 0.5}, {"max_new_tokens": 3}])
def test_settings_of_generation_do_not_apply(setting: dict[str, object]) -> None:
    with pytest.raises(QuantguardError, match="generates nothing"):
        quantguard.evaluate("tiny-reasoner", "capitals", **setting)  # type: ignore[arg-type]


@pytest.mark.parametrize("benchmark", ["capitals", "text-fidelity"])
def test_a_served_model_cannot_be_asked_for_logits(benchmark: str) -> None:
    with (
        serving(lambda _body, _number: (200, completion("Paris"))) as server,
        pytest.raises(QuantguardError, match="reads logits, so it takes a model of this process, not m"),
    ):
        quantguard.evaluate(openai.connect("m", url=server.url), benchmark)


def test_choices_are_gated_by_the_same_marker(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    pytester.makepyfile(GATE.format(settings=""))
    run(pytester, "--quantguard-update=new").stdout.fnmatch_lines(["quantguard: 1 MEASURED"])
    result = run(pytester)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*PASS*accuracy: capitals on tiny-reasoner, w8a8 (cpu)", "*of 88 items*"])
    wrong = choosing._choose
    monkeypatch.setattr(
        choosing,
        "_choose",
        lambda loaded, sample: (dataclasses.replace(wrong(loaded, sample)[0], value=0.0), False),
    )
    run(pytester).stdout.fnmatch_lines(["*REGRESSED*accuracy: capitals on tiny-reasoner, w8a8 (cpu)"])


def test_a_gate_on_choices_takes_no_thinking_mode(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(GATE.format(settings=", mode='no_think'"))
    result = run(pytester)
    result.stdout.fnmatch_lines(["*ERROR*", "*capitals generates nothing: mode, temperature, epochs*"])
