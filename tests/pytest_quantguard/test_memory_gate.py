"""The memory gate weighs a model at rest, and at work where that is asked for."""

import pytest

from tests.support.gate_runs import assert_error, run

GATE = """
import quantguard

@quantguard.memory({settings})
def test_release(guard{fixture}):
    guard.check("tiny-reasoner", recipe="w8a8"{device})
"""


def write(pytester: pytest.Pytester, settings: str, *, npu: bool = False) -> None:
    fixture, device = (", npu_device", ", device=npu_device") if npu else ("", "")
    pytester.makepyfile(test_release=GATE.format(settings=settings, fixture=fixture, device=device))


def test_weights_and_peak_are_judged_together(pytester: pytest.Pytester) -> None:
    write(pytester, "max_ratio=0.6, max_peak_ratio=0.8, num_tokens=64, num_new_tokens=4")
    result = run(pytester)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*PASS*memory: weights and peak on tiny-reasoner, w8a8 (cpu)", "*MB of weights in memory*a peak of * MB (*"]
    )
    result.stdout.fnmatch_lines(["*note: the peak is weights and what torch's allocator hands out on top*"])


def test_a_peak_beyond_its_limit_is_regressed_although_the_weights_are_small(pytester: pytest.Pytester) -> None:
    write(pytester, "max_ratio=0.6, max_peak_ratio=0.2, num_tokens=64, num_new_tokens=4")
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*REGRESSED*memory: weights and peak*", "*at most 0.200 is asked"])


def test_the_peak_alone_can_be_gated(pytester: pytest.Pytester) -> None:
    write(pytester, "max_peak_ratio=0.8, num_tokens=64, num_new_tokens=4")
    result = run(pytester)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*PASS*memory: peak on*"])


def test_the_peak_of_an_emulation_is_refused(pytester: pytest.Pytester) -> None:
    write(pytester, "max_peak_ratio=0.8", npu=True)
    assert_error(pytester, run(pytester, "--npu=emulated"), "*max_peak_ratio=…) on emulated-910b would measure*")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ("", "*say max_ratio=0.6, * or max_peak_ratio=0.8*"),
        ("max_peak_ratio=0", "*memory(max_peak_ratio=0): a ratio such as 0.6 is wanted*"),
        ("max_peak_ratio=0.5, num_new_tokens=0", "*num_new_tokens=0): at least one token is wanted*"),
    ],
    ids=["nothing", "zero", "no tokens"],
)
def test_what_cannot_be_meant_is_refused_where_it_is_written(
    pytester: pytest.Pytester, settings: str, complaint: str
) -> None:
    write(pytester, settings)
    result = run(pytester)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([complaint])
