"""A model that thinks longer than the limit lets it is reported as truncating, not as wrong."""

import pytest

from quantguard.engines.transformers import generation as engine
from tests.support.gate_runs import assert_error, copy_baselines, run, write_gate


def test_a_candidate_that_thinks_longer_is_an_error_that_says_so(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_gate(pytester)
    copy_baselines(pytester)
    generate = engine.generate

    def think_longer(loaded, requests, config, *, batch_size, finished):  # type: ignore[no-untyped-def]
        """Write on and on, as a quantized model does that finds no end to its thinking, for a quarter of the items."""

        def longer(generation):  # type: ignore[no-untyped-def]
            if int(generation.sample_id[-1], 36) % 4 == 0:
                text = generation.text.partition("</think>")[0]
                generation = type(generation)(
                    sample_id=generation.sample_id,
                    epoch=generation.epoch,
                    text=text,
                    num_tokens=config.max_new_tokens,
                    finish_reason="length",
                )
            finished(generation)

        generate(loaded, requests, config, batch_size=batch_size, finished=longer)

    monkeypatch.setattr(engine, "generate", think_longer)
    result = run(pytester, "--quantguard-limit=100")
    assert_error(pytester, result, "*of this run hit the token limit, 0.0% of the baseline*Raise max_new_tokens*")
    assert "REGRESSED" not in result.stdout.str()
