"""A fault in one layer is found in that layer: the first that differs is where it was planted."""

import contextlib
import re
from collections.abc import Callable, Iterator

import pytest
import torch

import quantguard
from quantguard.errors import MeasurementError
from quantguard.gates.layerwise import distances
from quantguard.modeling import LoadedModel, tracing
from quantguard.records import LayerSketch

TEXT = list(range(40, 140))
# On one machine the same model is at no distance from itself.
LIMIT = 0.001


@pytest.fixture(scope="module")
def quantized() -> LoadedModel:
    torch.set_num_threads(1)
    return quantguard.quantize("tiny-reasoner", recipe="w8a8", backend="reference")


@pytest.fixture(scope="module")
def profile(quantized: LoadedModel) -> tuple[LayerSketch, ...]:
    return sketches(quantized)


def sketches(model: LoadedModel) -> tuple[LayerSketch, ...]:
    return tracing.sketches(tracing.outputs(model, TEXT))


def grow(scale: torch.Tensor) -> None:
    scale.mul_(1.1)


def spoil(scale: torch.Tensor) -> None:
    scale.fill_(float("nan"))


def silence_a_channel(scale: torch.Tensor) -> None:
    scale[int(scale.argmax())] = 0


def shift_by_one(scale: torch.Tensor) -> None:
    scale.copy_(scale.roll(1, 0))


@contextlib.contextmanager
def planted(model: LoadedModel, name: str, fault: Callable[[torch.Tensor], None]) -> Iterator[None]:
    """Damage the scales of a linear while the block lasts."""
    scale: torch.Tensor = model.model.get_submodule(name).weight_scale
    good = scale.clone()
    fault(scale)
    try:
        yield
    finally:
        scale.copy_(good)


FAULTS: dict[str, Callable[[torch.Tensor], None]] = {
    "scales-a-tenth-larger": grow,
    "largest-channel-silent": silence_a_channel,
    "scales-off-by-one": shift_by_one,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_planted_fault_is_found_where_it_was_planted(
    quantized: LoadedModel, profile: tuple[LayerSketch, ...], fault: str
) -> None:
    names = [layer.name for layer in profile if layer.op is not None]
    assert len(names) == 28
    wrong = []
    for name in names:
        with planted(quantized, name, FAULTS[fault]):
            errors = distances(sketches(quantized), profile)
        first = next((error.name for error in errors if error.relative_error > LIMIT), None)
        if first != name:
            wrong.append((name, first))
    assert len(wrong) <= 0.05 * len(names), wrong


def test_a_sketch_tells_distances_about_right(quantized: LoadedModel) -> None:
    found = tracing.outputs(quantized, TEXT)
    generator = torch.Generator().manual_seed(0)
    ratios = []
    for name, output in found.outputs.items():
        noise = (
            0.05
            * output.norm()
            * torch.nn.functional.normalize(torch.randn(output.numel(), generator=generator), dim=0)
        )
        pair = (output, output + noise.view_as(output))
        ours, theirs = (LayerSketch(name=name, op=None, buckets=tracing._sketch(name, one)) for one in pair)
        [error] = distances((theirs,), (ours,))
        ratios.append(error.relative_error / 0.05)
    assert min(ratios) > 0.4
    assert max(ratios) < 2
    assert sum(ratios) / len(ratios) == pytest.approx(1, abs=0.15)


def test_the_same_model_is_at_no_distance_from_itself_and_layers_come_in_order(
    quantized: LoadedModel, profile: tuple[LayerSketch, ...]
) -> None:
    assert all(error.relative_error == 0 for error in distances(sketches(quantized), profile))
    names = [layer.name for layer in profile]
    assert names[:3] == [f"model.layers.0.self_attn.{part}" for part in ("q_proj", "k_proj", "v_proj")]
    assert names[7] == "model.layers.0"
    assert names[-1] == "lm_head"
    assert len(names) == 33


def test_nan_is_an_error_that_names_the_layer(quantized: LoadedModel) -> None:
    name = "model.layers.2.mlp.up_proj"
    with (
        planted(quantized, name, spoil),
        pytest.raises(MeasurementError, match=rf"{re.escape(name)} of .* is the first"),
    ):
        sketches(quantized)


def test_the_distance_from_another_model_is_exact_and_named(quantized: LoadedModel) -> None:
    other = quantguard.quantize("tiny-reasoner", recipe="w8a8", backend="reference")
    name = "model.layers.1.self_attn.k_proj"
    with planted(quantized, name, grow):
        errors = tracing.errors_between(*(tracing.outputs(model, TEXT) for model in (quantized, other)))
    first = next(error for error in errors if error.relative_error > 1e-6)
    assert (first.name, first.op) == (name, "int8_linear")
    # The bias is not scaled, so a little less than a tenth.
    assert 0.02 < first.relative_error <= 0.1 + 1e-6
