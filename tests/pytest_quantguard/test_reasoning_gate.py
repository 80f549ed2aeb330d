"""Loops, truncation and length are gated on the items of the accuracy baseline, whose answers are generated once."""

from typing import Any

import pytest

from quantguard.engines.transformers import generation as engine
from tests.support.gate_runs import assert_error, copy_baselines, run

GATE = """
import quantguard

@quantguard.{marker}
@quantguard.accuracy(early_stop="off")
def test_release(guard):
    guard.check("tiny-reasoner", recipe="w8a8")
"""
MARKER = "reasoning(max_repetition=0.05, max_truncation=0.05, max_length_ratio=1.2)"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The samples that were generated for, in order."""
    samples: list[str] = []
    generate = engine.generate

    def counting(loaded: Any, requests: Any, config: Any, **settings: Any) -> None:
        samples.extend(request.sample_id for request in requests)
        generate(loaded, requests, config, **settings)

    monkeypatch.setattr(engine, "generate", counting)
    return samples


def test_it_passes_on_the_answers_of_the_accuracy_gate(pytester: pytest.Pytester, asked: list[str]) -> None:
    copy_baselines(pytester)
    pytester.makepyfile(GATE.format(marker=MARKER))
    result = run(pytester, "--quantguard-limit=100")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "*PASS*reasoning: word-problems on tiny-reasoner, w8a8 (cpu)",
            "*repetition: 0 of 100 items*; truncation: 0 of 100 items*; answers are 1.00 times as long*",
        ]
    )
    assert len(asked) == len(set(asked)) == 100


def test_a_model_that_loops_is_seen(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_baselines(pytester)
    pytester.makepyfile(GATE.format(marker=MARKER).replace('@quantguard.accuracy(early_stop="off")\n', ""))
    generate = engine.generate

    def looping(loaded: Any, requests: Any, config: Any, *, batch_size: int, finished: Any) -> None:
        def loop(one: Any) -> None:
            if one.sample_id.endswith(("3", "7")):
                text, num_tokens = "Wait, let me check that again. " * 30, config.max_new_tokens
                one = type(one)(
                    sample_id=one.sample_id, epoch=0, text=text, num_tokens=num_tokens, finish_reason="length"
                )
            finished(one)

        generate(loaded, requests, config, batch_size=batch_size, finished=loop)

    monkeypatch.setattr(engine, "generate", looping)
    result = run(pytester, "--quantguard-limit=100")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*REGRESSED*reasoning*", "*repetition: ?? of 100 items*truncation: ?? of 100 items*"])


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("reasoning()", "*a limit is needed, one of max_repetition*"),
        ("reasoning(max_repetition=2)", "*max_repetition=2*between 0 and 1*"),
        ("reasoning(max_length_ratio=-1)", "*max_length_ratio=-1*between 0 and 100*"),
    ],
    ids=["none", "rate", "ratio"],
)
def test_limits_that_cannot_be_meant_are_refused(pytester: pytest.Pytester, marker: str, message: str) -> None:
    pytester.makepyfile(GATE.format(marker=marker))
    result = run(pytester)
    assert result.ret != 0
    result.stdout.fnmatch_lines([message])


def test_without_a_baseline_or_without_writing_it_is_an_error(pytester: pytest.Pytester) -> None:
    alone = GATE.format(marker=MARKER).replace('@quantguard.accuracy(early_stop="off")\n', "")
    pytester.makepyfile(alone)
    assert_error(pytester, run(pytester), "*there is no baseline*")
