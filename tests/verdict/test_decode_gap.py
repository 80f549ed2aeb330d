"""The gap between writing and reading: rounding passes, another cache does not, and a broken engine is an ERROR."""

import re

import pytest

from quantguard.verdict import judge_decode_gap


def measured(**changed: float) -> dict[str, float]:
    return {
        "decode_gap_1_row": 1e-4,
        "reading_gap_1_row": 0.02,
        "decode_gap_far_position": 1e-4,
        "reading_gap_far_position": 0.03,
        "decode_gap": 1e-7,
        "reading_gap": 0.02,
        "reference_decode_gap": 1e-6,
    } | changed


@pytest.mark.parametrize(
    ("changed", "outcome", "said"),
    [
        pytest.param({}, "PASS", "read at once", id="rounding"),
        pytest.param({"decode_gap_far_position": 0.015}, "PASS", "", id="a token that is rounded another way"),
        pytest.param(
            {"decode_gap": 0.015}, "REGRESSED", "0.015 from .* its cache is not what", id="half of all tokens"
        ),
        pytest.param(
            {"decode_gap_far_position": 0.9}, "REGRESSED", "far position.* 0.9 from", id="one batch far beyond"
        ),
        pytest.param({"reference_decode_gap": 0.2}, "ERROR", "full precision writes by other", id="full precision too"),
    ],
)
def test_a_gap_is_judged_by_what_rounding_explains(changed: dict[str, float], outcome: str, said: str) -> None:
    verdict = judge_decode_gap(measured(**changed), dtype="float32")
    assert verdict.outcome == outcome
    assert re.search(said, verdict.reason)


def test_16_bit_floats_explain_more() -> None:
    found = measured(reference_decode_gap=0.002)
    assert judge_decode_gap(found, dtype="float32").outcome == "ERROR"
    assert judge_decode_gap(found, dtype="bfloat16").outcome == "PASS"


def test_full_precision_itself_is_held_against_its_own_gap() -> None:
    found = dict.fromkeys(measured(), 0.0) | {
        "decode_gap": 4e-7,
        "decode_gap_1_row": 1e-6,
        "reference_decode_gap": 1e-6,
    }
    assert judge_decode_gap(found, dtype="float32").outcome == "PASS"
