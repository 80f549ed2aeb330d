"""The gates that see damage which accuracy on a few hundred items cannot."""

import pathlib

import pytest
import torch

from quantguard import baselines, pipeline
from quantguard.measures import layers
from quantguard.modeling import LoadedModel
from quantguard.pipeline import session as sessions
from tests.support.gate_runs import assert_error, run

GATE = """
import quantguard

@quantguard.{marker}
def test_release(guard):
    guard.check("tiny-reasoner", recipe="w8a8")
"""
PROFILE = pathlib.Path("baselines/cpu/tiny-reasoner/w8a8/layers.json")


@pytest.fixture(autouse=True)
def not_under_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)


def write(pytester: pytest.Pytester, marker: str) -> None:
    pytester.makepyfile(GATE.format(marker=marker))


@pytest.fixture
def damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of one linear whose scales are all a little too large."""
    plant(monkeypatch, 1.1)


def plant(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    quantize = pipeline.quantizing.quantize

    def damage(model: LoadedModel, recipe: str, *, backend: str = "auto") -> LoadedModel:
        quantized = quantize(model, recipe, backend=backend)
        if backend != "reference":
            scale: torch.Tensor = quantized.model.model.layers[2].mlp.up_proj.weight_scale
            scale.mul_(factor)
        return quantized

    monkeypatch.setattr(sessions, "quantize", damage)


@pytest.mark.parametrize(
    "marker",
    [
        "fidelity(max_kl=0.045, max_flips=0.01)",
        "fidelity(benchmark='word-problems', subset=8, max_kl=0.001, min_top1=0.99)",
        "layerwise(backend='reference')",
    ],
    ids=["text", "answers", "backend"],
)
def test_a_good_recipe_passes(pytester: pytest.Pytester, marker: str) -> None:
    write(pytester, marker)
    result = run(pytester)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"*PASS*{marker.partition('(')[0]}: *on tiny-reasoner, w8a8 (cpu)"])


@pytest.mark.usefixtures("damaged")
def test_damage_of_one_linear_is_seen_and_the_layer_is_named(pytester: pytest.Pytester) -> None:
    write(pytester, "layerwise(backend='reference')")
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*REGRESSED*", "*model.layers.2.mlp.up_proj (int8_linear) is the first of*: 10.*"])
    write(pytester, "fidelity(max_kl=0.045)")
    result = run(pytester)
    result.stdout.fnmatch_lines(["*REGRESSED*fidelity*", "*kl *, at most 0.045 is asked*"])


def test_a_profile_is_measured_kept_and_compared(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    write(pytester, "layerwise()")
    assert_error(pytester, run(pytester), "*there is no baseline*layers.json*--quantguard-update=new*")
    run(pytester, "--quantguard-update=new").stdout.fnmatch_lines(["quantguard: 1 MEASURED"])
    assert len(baselines.read(pytester.path / PROFILE, baselines.LayerProfile).layers) == 3 * 33 + 5
    first = (pytester.path / PROFILE).read_bytes()
    run(pytester).assert_outcomes(passed=1)
    run(pytester, "--quantguard-update=all").stdout.fnmatch_lines(["baseline unchanged: *layers.json"])
    assert (pytester.path / PROFILE).read_bytes() == first
    with monkeypatch.context() as patch:
        patch.setattr(layers, "_READ_TOKENS", 64)
        assert_error(pytester, run(pytester), "*is stale: data was *, is *--quantguard-update=changed*")
    request.getfixturevalue("damaged")
    run(pytester).stdout.fnmatch_lines(["*REGRESSED*", "*model.layers.2.mlp.up_proj (int8_linear) is the first of*"])


ON_TWO_PLATFORMS = """
import quantguard

@quantguard.layerwise()
def test_cpu(guard):
    guard.check("tiny-reasoner", recipe="w8a8")

@quantguard.layerwise(platform="cpu", max_relative_error=0.2)
def test_npu(guard, npu_device):
    guard.check("tiny-reasoner", recipe="w8a8", device=npu_device, backend="ascend")
"""


def test_two_platforms_are_compared_layer_by_layer_where_that_is_asked_for(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(ON_TWO_PLATFORMS)
    on_npu = ("--npu=emulated", "-k", "test_npu")
    assert_error(pytester, run(pytester, *on_npu), "*no profile*cpu*layers.json to compare emulated-910b with*on cpu*")
    run(pytester, "-k", "test_cpu", "--quantguard-update=new").stdout.fnmatch_lines(["*baseline written: *cpu*"])
    stored = (pytester.path / PROFILE).read_bytes()
    result = run(pytester, *on_npu, "--quantguard-update=all")
    result.stdout.fnmatch_lines(
        ["*PASS*(emulated-910b)*", "*within *% of the stored profile of cpu", "*dtype is float32 on cpu, bfloat16 here"]
    )
    assert (pytester.path / PROFILE).read_bytes() == stored
    with monkeypatch.context() as patch:
        patch.setattr(layers, "_READ_TOKENS", 64)
        assert_error(pytester, run(pytester, *on_npu), "*is stale: data was *, is *. If that is meant, type on cpu: *")
    plant(monkeypatch, 1.5)
    result = run(pytester, *on_npu)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*model.layers.2.mlp.up_proj (int8_linear) is the first of*stored profile of cpu: *"])


@pytest.mark.parametrize("damage", ["truncated", "edited", "empty"])
def test_a_damaged_profile_is_an_error(pytester: pytest.Pytester, damage: str) -> None:
    write(pytester, "layerwise()")
    run(pytester, "--quantguard-update=new")
    path = pytester.path / PROFILE
    text = path.read_text()
    path.write_text({"truncated": text[:900], "edited": text.replace("0.", "1.", 1), "empty": ""}[damage])
    said = "*layers.json is damaged: it was edited*" if damage == "edited" else "*layers.json is damaged*"
    assert_error(pytester, run(pytester), said)


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("fidelity()", "*a limit is needed*"),
        ("fidelity(max_kl=-1)", "*max_kl=-1*between 0 and 100*"),
        ("fidelity(max_flips=3)", "*max_flips=3*between 0 and 1 *"),
        ("layerwise(max_relative_error=2)", "*a share between 0 and 1*"),
        ("layerwise(backend='reference', platform='cpu')", "*one of the two is compared with*"),
        ("layerwise(platform='cpu')", "*runs on cpu itself: leave platform out*"),
    ],
    ids=["none", "negative", "share", "layer", "both", "itself"],
)
def test_limits_that_cannot_be_meant_are_refused(pytester: pytest.Pytester, marker: str, message: str) -> None:
    write(pytester, marker)
    result = run(pytester)
    assert result.ret != 0
    result.stdout.fnmatch_lines([message])


def test_multiple_choice_has_no_text_to_compare(pytester: pytest.Pytester) -> None:
    write(pytester, "fidelity(max_kl=0.1, benchmark='capitals')")
    assert_error(pytester, run(pytester), "*capitals is multiple choice and has no text*")
