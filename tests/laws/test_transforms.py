"""The law of transforms: the float function stays. It runs over every transform that is found on disk."""

import dataclasses
from typing import Any

import pytest
import torch

from quantguard import transforms
from quantguard.errors import QuantguardError, RecipeError
from quantguard.modeling import Block, BlockCalibration, LoadedModel, embed, find_decoder, folding
from quantguard.modeling.online import TransformedLinear, TransformedNorm
from quantguard.records import QuantArgs, Recipe
from quantguard.transforms import Transform
from quantguard.transforms._composition import create_transforms
from tests.support.families import FAMILIES, build, logits, tokens

LARGEST_CHANGE = 1e-10
RECIPE = Recipe(
    name="law",
    weights=QuantArgs(num_bits=4, strategy="channel"),
    input_activations=QuantArgs(num_bits=4, strategy="token", dynamic=True),
    kv_cache=QuantArgs(num_bits=4, strategy="token", dynamic=True, symmetric=False),
)
# A learned transform takes few steps here: the law holds for whatever it has learned.
QUICK: dict[str, dict[str, Any]] = {
    "flatquant": {"epochs": 8},
    "spinquant": {"steps": 4},
    "ostquant": {"steps": 4, "scale_learning_rate": 0.05},
}


def create(name: str, **options: Any) -> Transform:
    transform: Transform = transforms.members[name].create(RECIPE, {**QUICK.get(name, {}), **options})
    return transform


def transformed(transform: Transform, loaded: Any) -> list[BlockCalibration]:
    """Apply a transform as quantizing does; return the calibrations with the statistics that it left."""
    decoder = find_decoder(loaded.model)
    activations = embed(decoder, tokens())
    if transform.learns:
        transform.learn(decoder, activations)
    transform.prepare(decoder)
    calibrations = []
    for block in decoder.blocks:
        calibration = BlockCalibration(block, activations, loaded.model.config)
        transform.apply(calibration)
        activations = calibration.float_outputs()
        calibrations.append(calibration)
    return calibrations


def weights(loaded: Any) -> list[torch.Tensor]:
    return [linear.weight.clone() for block in find_decoder(loaded.model).blocks for linear in block.linears.values()]


def assert_keeps_the_function(transform: Transform, family: str) -> None:
    loaded = build(family)
    before, weights_before = logits(loaded), weights(loaded)
    transformed(transform, loaded)
    assert any(not torch.equal(a, b) for a, b in zip(weights_before, weights(loaded), strict=True)), "nothing changed"
    change = (logits(loaded) - before).norm() / before.norm()
    assert change < LARGEST_CHANGE


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", list(transforms.members))
def test_the_function_stays(name: str, family: str) -> None:
    assert_keeps_the_function(create(name), family)


@pytest.mark.parametrize("name", list(transforms.members))
def test_it_stays_too_when_generated_token_by_token(name: str) -> None:
    loaded = build("qwen3")
    ids = torch.tensor(tokens())
    with torch.inference_mode():
        before = loaded.model(ids).logits
    transformed(create(name), loaded)
    with torch.inference_mode():
        first = loaded.model(ids[:, :-1], use_cache=True)
        last = loaded.model(ids[:, -1:], past_key_values=first.past_key_values).logits
    assert (last[:, 0] - before[:, -1]).norm() / before[:, -1].norm() < LARGEST_CHANGE


@pytest.mark.parametrize("name", list(transforms.members))
def test_the_statistics_are_those_of_the_transformed_model(name: str) -> None:
    for calibration in transformed(create(name), build("llama")):
        for group in calibration.block.groups.values():
            left = calibration.stats(group, gram=True)
            calibration.changed()
            seen = calibration.stats(group, gram=True)
            torch.testing.assert_close(left.absmax, seen.absmax, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(left.abs_sum, seen.abs_sum, rtol=1e-4, atol=1e-3)
            torch.testing.assert_close(left.gram, seen.gram, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    ("names", "options"),
    [
        pytest.param(("hadamard", "smoothquant"), {}, id="hadamard+smoothquant"),
        pytest.param(("spinquant", "smoothquant"), {}, id="spinquant+smoothquant"),
        pytest.param(("hadamard", "awq"), {"hadamard": {"online": False}}, id="hadamard without its online part+awq"),
        pytest.param(
            ("hadamard", "smoothquant"),
            {"hadamard": {"online": False}, "smoothquant": {"all_pairs": True, "alpha": 0.8}},
            id="hadamard without its online part+smoothquant on all pairs",
        ),
        pytest.param(("hadamard", "flatquant"), {"hadamard": {"online": False}}, id="hadamard+flatquant"),
        pytest.param(("smoothquant", "awq"), {}, id="smoothquant+awq"),
        pytest.param(("smoothquant", "flatquant"), {"flatquant": {"scale_init": "ones"}}, id="smoothquant+flatquant"),
    ],
)
def test_transforms_compose(names: tuple[str, ...], options: dict[str, dict[str, Any]]) -> None:
    class Both(Transform):
        def __init__(self) -> None:
            self.parts = [create(name, **options.get(name, {})) for name in names]
            self.learns = any(part.learns for part in self.parts)

        def learn(self, decoder: Any, activations: Any) -> None:
            for part in self.parts:
                part.learn(decoder, activations)

        def prepare(self, decoder: Any) -> None:
            for part in self.parts:
                part.prepare(decoder)

        def apply(self, calibration: BlockCalibration) -> None:
            for part in self.parts:
                part.apply(calibration)

    assert_keeps_the_function(Both(), "qwen2, tied")


def test_scaling_behind_an_online_rotation_is_refused() -> None:
    loaded = build("llama")
    transformed(create("hadamard"), loaded)
    with pytest.raises(QuantguardError, match=r"o_proj has an online transform .* online = false.* all_pairs = false"):
        transformed(create("smoothquant", all_pairs=True), loaded)


@pytest.mark.parametrize(
    ("names", "advice"),
    [
        pytest.param(("smoothquant", "hadamard"), r'transforms = \["hadamard", "smoothquant"\]', id="a rotation"),
        pytest.param(("awq", "hadamard"), r'transforms = \["hadamard", "awq"\]', id="a rotation behind AWQ"),
        pytest.param(
            ("smoothquant", "spinquant"), r'transforms = \["spinquant", "smoothquant"\]', id="a learned rotation"
        ),
        pytest.param(("smoothquant", "ostquant"), "take one of the two", id="a learned rotation that scales"),
        pytest.param(("ostquant", "hadamard"), "take one of the two", id="a rotation on top"),
        pytest.param(("awq", "smoothquant"), r'transforms = \["smoothquant", "awq"\]', id="a scale chosen anew"),
        pytest.param(("ostquant", "smoothquant"), "take one of the two", id="a scale in the place of a learned one"),
        pytest.param(
            ("smoothquant", "flatquant"), "vanishes in flatquant, which starts its own", id="FlatQuant's start"
        ),
        pytest.param(
            ("smoothquant", "awq", "hadamard"),
            r'transforms = \["awq", "hadamard", "smoothquant"\]',
            id="the first of two",
        ),
        pytest.param(("hadamard", "hadamard"), "has 'hadamard' twice", id="the same twice"),
    ],
)
def test_a_scale_that_would_vanish_is_refused_before_anything_runs(names: tuple[str, ...], advice: str) -> None:
    with pytest.raises(RecipeError, match=advice):
        create_transforms(dataclasses.replace(RECIPE, transforms=names))


@pytest.mark.parametrize(
    "names",
    [("smoothquant", "hadamard"), ("awq", "hadamard"), ("awq", "smoothquant"), ("smoothquant", "flatquant")],
    ids="+".join,
)
def test_it_is_refused_too_where_no_transform_says_that_it_cancels(names: tuple[str, ...]) -> None:
    loaded = build("llama")
    transformed(create(names[0]), loaded)
    with pytest.raises(
        RecipeError, match=r"folded into the norm in front would vanish. Put the transform that rotates"
    ):
        transformed(create(names[1]), loaded)


def all_norms(loaded: LoadedModel) -> list[torch.nn.Module]:
    return [norm for block in find_decoder(loaded.model).blocks for norm in (block.norms.attention, block.norms.mlp)]


@pytest.mark.parametrize("name", list(transforms.members))
def test_a_transform_says_whether_it_scales_norms_and_cancels_such_scales(name: str) -> None:
    """What it says is what it does: a scale of its own is marked, and one that is there already is refused."""
    transform, loaded = create(name), build("llama")
    transformed(transform, loaded)
    norms = all_norms(loaded)
    marked = [vars(norm).get(folding._SCALED) or isinstance(norm, TransformedNorm) for norm in norms]
    assert all(marked) if transform.scales_norms else not any(marked)
    again = build("llama")
    for norm in all_norms(again):
        vars(norm)[folding._SCALED] = True
    if transform.cancels_scales:
        with pytest.raises(RecipeError, match="would vanish"):
            transformed(create(name), again)
    else:
        transformed(create(name), again)


def norm_weight(block: Block) -> torch.Tensor:
    """Return the weight of the norm in front of q, k and v."""
    weight = getattr(block.norms.attention, "weight", None)
    assert isinstance(weight, torch.Tensor)
    return weight


class _Broken(Transform):
    """A transform with one part left out of the first block, or of the ends."""

    def __init__(self, name: str, fault: str) -> None:
        self.inner = create(name)
        self.fault = fault

    def prepare(self, decoder: Any) -> None:
        head = decoder.head.weight.detach().clone()
        self.inner.prepare(decoder)
        if self.fault == "the head is not rotated":
            decoder.head.weight.data.copy_(head)
        if self.fault == "tied embeddings stay tied":
            decoder.head.weight = decoder.embedding.weight

    def apply(self, calibration: BlockCalibration) -> None:
        block = calibration.block
        q, v = block.attention.q, block.attention.v
        before = {name: p.detach().clone() for name, p in block.layer.named_parameters()}
        self.inner.apply(calibration)
        after = dict(block.layer.named_parameters())
        with torch.no_grad():
            if self.fault == "the norm is not divided":
                norm_weight(block).copy_(before["input_layernorm.weight"])
            if self.fault == "v_proj is forgotten":
                v.weight.copy_(before["self_attn.v_proj.weight"])
            if self.fault == "a divisor is off by a millionth":
                norm_weight(block).mul_(1 + 1e-6)
            if self.fault == "the bias of q is scaled too" and q.bias is not None:
                q.bias.mul_(1.01)
            if self.fault == "the bias of o_proj is forgotten":
                after["self_attn.o_proj.bias"].copy_(before["self_attn.o_proj.bias"])
            if self.fault == "the bias of v_proj is forgotten":
                after["self_attn.v_proj.bias"].copy_(before["self_attn.v_proj.bias"])
            if self.fault == "down_proj is rotated on one side only":
                down: Any = block.mlp.down
                assert isinstance(down, TransformedLinear)
                down.input_transform = torch.nn.Identity()
            if self.fault == "queries are not rotated":
                extension: Any = block.attention.module.extension
                extension.query_transform = None


FAULTS = [
    ("smoothquant", "the norm is not divided"),
    ("smoothquant", "v_proj is forgotten"),
    ("smoothquant", "a divisor is off by a millionth"),
    ("smoothquant", "the bias of q is scaled too"),
    ("awq", "v_proj is forgotten"),
    ("hadamard", "v_proj is forgotten"),
    ("hadamard", "the bias of v_proj is forgotten"),
    ("hadamard", "the bias of o_proj is forgotten"),
    ("hadamard", "the head is not rotated"),
    ("hadamard", "down_proj is rotated on one side only"),
    ("hadamard", "queries are not rotated"),
]


@pytest.mark.parametrize(("name", "fault"), FAULTS, ids=[f"{name}, {fault}" for name, fault in FAULTS])
def test_the_law_catches(name: str, fault: str) -> None:
    with pytest.raises(AssertionError):
        assert_keeps_the_function(_Broken(name, fault), "llama with biases")


def test_the_law_catches_embeddings_that_stay_tied() -> None:
    with pytest.raises(AssertionError):
        assert_keeps_the_function(_Broken("hadamard", "tied embeddings stay tied"), "qwen2, tied")


def test_an_impossible_alpha_is_refused() -> None:
    with pytest.raises(QuantguardError, match="alpha is 2"):
        create("smoothquant", alpha=2.0)


@pytest.mark.parametrize("name", list(transforms.members))
def test_an_unknown_option_is_refused(name: str) -> None:
    with pytest.raises(QuantguardError, match=r"unknown option 'alhpa'; possible: \w+"):
        create(name, alhpa=0.5)


def test_smoothing_brings_an_outlier_channel_down() -> None:
    loaded = build("llama")
    block = find_decoder(loaded.model).blocks[0]
    with torch.no_grad():
        norm_weight(block)[3] = 300.0
    activations = embed(find_decoder(loaded.model), tokens())
    before = BlockCalibration(block, activations, loaded.model.config).stats(block.groups["qkv"], gram=False).absmax
    after = transformed(create("smoothquant"), loaded)[0].stats(block.groups["qkv"], gram=False).absmax

    def spread(absmax: torch.Tensor) -> float:
        return float(absmax.max() / absmax.median())

    assert spread(after) < spread(before) / 5


def test_a_rotation_spreads_an_outlier_channel_over_all() -> None:
    loaded = build("llama")
    block = find_decoder(loaded.model).blocks[0]
    with torch.no_grad():
        find_decoder(loaded.model).embedding.weight[:, 3] += 100.0
    after = transformed(create("hadamard"), loaded)[0].stats(block.groups["qkv"], gram=False).absmax
    assert float(after.max() / after.median()) < 3
