"""The float law as quantizing holds it: on the model itself, in memory and streamed, before anything is rounded."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers

import quantguard
from quantguard.errors import MeasurementError, ModelError
from quantguard.modeling import Block, BlockCalibration, Decoder, embed, find_decoder
from quantguard.modeling.attention import AttentionExtension
from quantguard.modeling.folding import divide, multiply_columns, readers
from quantguard.modeling.rotating import (
    fold_norms,
    map_input,
    rotate_ends,
    rotate_value_heads,
    rotation_factors,
)
from quantguard.modeling.sites import OUTPUT_INPUT, InputSite
from quantguard.pipeline import float_law, quantizing
from quantguard.records import CalibrationArgs, QuantArgs, Recipe
from quantguard.transforms import awq, flatquant, hadamard, smoothquant
from quantguard.transforms._composition import create_transforms
from quantguard.transforms._learned_rotation import LearnedRotation

pytestmark = pytest.mark.timeout(300)
RECIPE = Recipe(
    name="law",
    weights=QuantArgs(num_bits=8, strategy="channel"),
    input_activations=QuantArgs(num_bits=8, strategy="token", dynamic=True),
    kv_cache=QuantArgs(num_bits=8, strategy="token", dynamic=True, symmetric=False),
    calibration=CalibrationArgs(dataset="worked-problems", num_samples=2, max_length=48),
)
QUICK: dict[str, dict[str, Any]] = {
    "flatquant": {"epochs": 4},
    "spinquant": {"steps": 2},
    "ostquant": {"steps": 2, "scale_learning_rate": 0.05},
}


def recipe(*names: str, **options: dict[str, Any]) -> Recipe:
    chosen = {name: {**QUICK.get(name, {}), **options.get(name, {})} for name in names}
    return dataclasses.replace(RECIPE, transforms=names, options=chosen)


@pytest.fixture(autouse=True)
def what_is_learned_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what FlatQuant learns in a few steps on a random model, where there is nothing to gain."""
    fit = flatquant._Learner.fit
    monkeypatch.setattr(flatquant._Learner, "fit", lambda learner: (fit(learner)[0], float("inf")))


def write_model(folder: pathlib.Path, dtype: torch.dtype = torch.float32) -> str:
    """Write a random Qwen2 of three blocks whose norms and biases are not at their initial values."""
    tokenizer = quantguard.load("tiny-reasoner").tokenizer
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=False,
    )
    model: Any = transformers.Qwen2ForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                parameter.uniform_(0.5, 1.5)
    model.to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_model(tmp_path_factory.mktemp("law") / "model")


@pytest.fixture(scope="module")
def narrow_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_model(tmp_path_factory.mktemp("law") / "narrow", torch.bfloat16)


Plant = Callable[[pytest.MonkeyPatch], None]


def one_side(patch: pytest.MonkeyPatch) -> None:
    def values_alone(block: Block, matrix: torch.Tensor) -> None:
        output = block.attention.o.weight
        kept = output.detach().clone()
        rotate_value_heads(block, matrix)
        output.data.copy_(kept)

    patch.setattr(hadamard, "rotate_value_heads", values_alone)


def ends_but(part: str) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        def rotate(decoder: Decoder, rotation: torch.Tensor) -> None:
            weight = getattr(decoder, part).weight
            kept = weight.detach().clone()
            rotate_ends(decoder, rotation)
            weight.data.copy_(kept)

        patch.setattr(hadamard, "rotate_ends", rotate)

    return plant


def one_row_of(part: str) -> Plant:
    """Spoil the row of a token that the calibration text need not have."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        def rotate(decoder: Decoder, rotation: torch.Tensor) -> None:
            rotate_ends(decoder, rotation)
            getattr(decoder, part).weight.data[-1] *= -1

        patch.setattr(hadamard, "rotate_ends", rotate)

    return plant


def scale_the_wrong_way(patch: pytest.MonkeyPatch) -> None:
    def multiply(block: Block, site: InputSite, divisor: torch.Tensor) -> torch.Tensor:
        factor = divide(block, site, divisor)
        multiply_columns(readers(block, site), divisor**-2)
        return factor

    patch.setattr(smoothquant, "divide", multiply)


def scale_off_by_a_thousandth(patch: pytest.MonkeyPatch) -> None:
    def nearly(block: Block, site: InputSite, divisor: torch.Tensor) -> torch.Tensor:
        factor = divide(block, site, divisor)
        multiply_columns(readers(block, site), torch.tensor(1.001))
        return factor

    patch.setattr(smoothquant, "divide", nearly)


def online_part_forgotten(patch: pytest.MonkeyPatch) -> None:
    def weights_alone(block: Block, **_options: int) -> None:
        map_input((block.mlp.down,), *rotation_factors(block.mlp.down.in_features))

    patch.setattr(hadamard, "rotate_down_input", weights_alone)


def norm_folded_twice(patch: pytest.MonkeyPatch) -> None:
    def twice(block: Block) -> None:
        norm: Any = block.norms.mlp
        scale = norm.weight.detach().clone()
        fold_norms(block)
        multiply_columns((block.mlp.gate, block.mlp.up), scale.double())

    patch.setattr(hadamard, "fold_norms", twice)


def one_head_permuted(patch: pytest.MonkeyPatch) -> None:
    def permuted(block: Block, matrix: torch.Tensor) -> None:
        each = matrix.repeat(block.attention.num_key_value_heads, 1, 1)
        other = each.clone()
        other[1] = matrix.roll(1, dims=0)
        rotate_value_heads(block, each, other)

    patch.setattr(hadamard, "rotate_value_heads", permuted)


def queries_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AttentionExtension, "transform_queries", lambda _self, queries: queries)


def another_rotation_in_each_block(patch: pytest.MonkeyPatch) -> None:
    """Rotate every block soundly, each into a basis of its own that its neighbours do not know."""
    apply = hadamard.Hadamard.apply

    def apart(self: Any, calibration: BlockCalibration) -> None:
        self._seed = int(calibration.block.name.rpartition(".")[2])
        apply(self, calibration)

    patch.setattr(hadamard.Hadamard, "apply", apart)


def values_scaled_as_query_heads(patch: pytest.MonkeyPatch) -> None:
    def shifted(block: Block, site: InputSite, divisor: torch.Tensor) -> torch.Tensor:
        factor = divide(block, site, divisor)
        if site is OUTPUT_INPUT:
            output = block.attention.o.weight
            output.data.copy_(output.data.roll(block.attention.head_dim, dims=1))
        return factor

    patch.setattr(awq, "divide", shifted)


def inverse_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(flatquant, "rotate_value_heads", lambda block, matrix, _dual: rotate_value_heads(block, matrix))


def learning_changes_the_model(patch: pytest.MonkeyPatch) -> None:
    learn = LearnedRotation.learn

    def careless(self: Any, decoder: Decoder, activations: Any) -> None:
        learn(self, decoder, activations)
        decoder.blocks[1].mlp.down.weight.data *= 1.01

    patch.setattr(LearnedRotation, "learn", careless)


def the_next_block_is_changed(patch: pytest.MonkeyPatch) -> None:
    """Change a block before its turn comes, as only a transform can that is shown the whole model."""
    prepared = hadamard.Hadamard.prepare

    def prepare(self: Any, decoder: Decoder) -> None:
        prepared(self, decoder)
        decoder.blocks[2].mlp.down.weight.data *= 1.01

    patch.setattr(hadamard.Hadamard, "prepare", prepare)


FIRST = r"model\.layers\.0"
# What is planted: the transforms of the recipe, where it must be seen, and the transform that is named.
FAULTS: dict[str, tuple[Plant, tuple[str, ...], str, str]] = {
    "values are rotated and o_proj is not": (one_side, ("hadamard",), FIRST, "hadamard"),
    "the head is left as it was": (ends_but("head"), ("hadamard",), "the final norm and head", "hadamard"),
    "the embedding is left as it was": (ends_but("embedding"), ("hadamard",), "the embedding", "hadamard"),
    "one row of the head is wrong": (one_row_of("head"), ("hadamard",), "the final norm and head", "hadamard"),
    "one row of the embedding is wrong": (one_row_of("embedding"), ("hadamard",), "the embedding", "hadamard"),
    "a scale is folded the wrong way": (scale_the_wrong_way, ("smoothquant",), FIRST, "smoothquant"),
    "the second of two is wrong": (scale_the_wrong_way, ("hadamard", "smoothquant"), FIRST, "smoothquant"),
    "the first of two is wrong": (norm_folded_twice, ("hadamard", "smoothquant"), FIRST, "hadamard"),
    "a scale is off by a thousandth": (scale_off_by_a_thousandth, ("smoothquant",), FIRST, "smoothquant"),
    "an online rotation is forgotten": (online_part_forgotten, ("hadamard",), FIRST, "hadamard"),
    "a norm is folded twice": (norm_folded_twice, ("hadamard",), FIRST, "hadamard"),
    "the rotation of one head is permuted": (one_head_permuted, ("hadamard",), FIRST, "hadamard"),
    "queries are not rotated": (queries_forgotten, ("hadamard",), FIRST, "hadamard"),
    "each block is in a basis of its own": (
        another_rotation_in_each_block,
        ("hadamard",),
        r"the model up to model\.layers\.1",
        "hadamard",
    ),
    "heads are scaled by their neighbour's": (values_scaled_as_query_heads, ("awq",), FIRST, "awq"),
    "an affine map has no inverse in o_proj": (inverse_forgotten, ("flatquant",), FIRST, "flatquant"),
    "a block is changed before its turn": (the_next_block_is_changed, ("hadamard",), r"model\.layers\.2", "hadamard"),
    "learning changes the model": (learning_changes_the_model, ("spinquant",), r"model\.layers\.1", "spinquant"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_model_in_memory_is_held_to_it(fault: str, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, transforms, place, name = FAULTS[fault]
    loaded = quantguard.load(model)
    plant(monkeypatch)
    with pytest.raises(MeasurementError, match=rf"^{place} computes something else after {name}: .* by [\d.e+-]+ of"):
        quantguard.quantize(loaded, recipe(*transforms))


# What is read from disk at its turn cannot have been changed before.
STREAMED = [name for name in FAULTS if name != "a block is changed before its turn"]


@pytest.mark.parametrize("fault", STREAMED)
def test_a_streamed_model_is_held_to_it_and_nothing_is_left(
    fault: str, model: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant, transforms, place, name = FAULTS[fault]
    plant(monkeypatch)
    with pytest.raises(MeasurementError, match=rf"^{place} computes something else after {name}: "):
        quantguard.quantize_to_folder(model, recipe(*transforms), tmp_path / "out")
    assert not (tmp_path / "out").exists()


HEALTHY = (("smoothquant",), ("awq",), ("hadamard",), ("hadamard", "smoothquant"), ("flatquant",), ("spinquant",))


@pytest.mark.parametrize("names", [*HEALTHY, ("ostquant",)], ids="+".join)
def test_healthy_transforms_pass(names: tuple[str, ...], model: str) -> None:
    quantguard.quantize(quantguard.load(model), recipe(*names))


# Gradients through a network of float16 overflow: what learns on the whole one says so, and is tried in bfloat16.
@pytest.mark.parametrize(
    ("names", "dtype"),
    [
        pytest.param(names, dtype, id=f"{'+'.join(names)}, {dtype}")
        for names in HEALTHY
        for dtype in ("bfloat16", "float16")
        if (names, dtype) != (("spinquant",), "float16")
    ],
)
def test_they_pass_where_weights_have_16_bits(names: tuple[str, ...], dtype: str, narrow_model: str) -> None:
    quantized = quantguard.quantize(quantguard.load(narrow_model, dtype=dtype), recipe(*names))
    parameters = dict(quantized.model.named_parameters())
    assert {str(parameter.dtype) for parameter in parameters.values()} == {f"torch.{dtype}"}


def test_tokens_that_are_much_alike_are_no_alarm(model: str) -> None:
    """Of some sums of the embedding's rows next to nothing is left then."""
    loaded = quantguard.load(model)
    rows = find_decoder(loaded.model).embedding.weight.data
    rows[256:512] = rows[:256] * (1 + 1e-6)
    quantguard.quantize(loaded, recipe("hadamard"))


def test_16_bits_hide_nothing(narrow_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousandth is less than half of the last place of bfloat16."""
    scale_off_by_a_thousandth(monkeypatch)
    with pytest.raises(MeasurementError, match=r"after smoothquant: .* is the limit in float32"):
        quantguard.quantize(quantguard.load(narrow_model, dtype="bfloat16"), recipe("smoothquant"))


def test_what_16_bits_cannot_hold_is_seen_where_it_is_stored(
    narrow_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scale of ten million is exact in float32, and what is left of the norm underflows in float16."""

    def huge(block: Block, site: InputSite, divisor: torch.Tensor) -> torch.Tensor:
        return divide(block, site, divisor * 1e7)

    monkeypatch.setattr(smoothquant, "divide", huge)
    loaded = quantguard.load(narrow_model, dtype="float16")
    with pytest.raises(MeasurementError, match=r"after storing in float16 what smoothquant made: .* limit in float16"):
        quantguard.quantize(loaded, recipe("smoothquant"))


class Killed(BaseException):
    """Ends a run as a signal does."""


def ended_behind_the_first_block(model: str, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:

        def describe(_report: Any) -> str:
            raise Killed

        patch.setattr(quantizing, "describe", describe)
        with pytest.raises(Killed):
            quantguard.quantize_to_folder(model, recipe("hadamard", "smoothquant"), folder)


def test_a_run_that_goes_on_ends_as_one_that_was_never_ended(
    model: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended_behind_the_first_block(model, tmp_path / "ended", monkeypatch)
    saved = quantguard.quantize_to_folder(model, recipe("hadamard", "smoothquant"), tmp_path / "ended")
    assert saved.num_resumed == 1
    quantguard.quantize_to_folder(model, recipe("hadamard", "smoothquant"), tmp_path / "whole")
    files = {path.name for path in (tmp_path / "whole").iterdir()}
    assert files == {path.name for path in (tmp_path / "ended").iterdir()}
    for name in sorted(files):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "ended" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("plant", "place"),
    [
        pytest.param(one_side, r"model\.layers\.1", id="in its first block"),
        pytest.param(ends_but("head"), "the final norm and head", id="at the head"),
        pytest.param(ends_but("embedding"), "the embedding", id="at the embedding"),
    ],
)
def test_a_run_that_goes_on_is_held_to_it(
    plant: Plant, place: str, model: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended_behind_the_first_block(model, tmp_path / "out", monkeypatch)
    plant(monkeypatch)
    with pytest.raises(MeasurementError, match=rf"^{place} computes something else after hadamard: "):
        quantguard.quantize_to_folder(model, recipe("hadamard", "smoothquant"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_not_of_the_run_stays_in_the_folder(
    model: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended_behind_the_first_block(model, tmp_path / "out", monkeypatch)
    (tmp_path / "out/notes.txt").write_text("mine")
    one_side(monkeypatch)
    with pytest.raises(MeasurementError, match="after hadamard"):
        quantguard.quantize_to_folder(model, recipe("hadamard", "smoothquant"), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_an_unfinished_folder_of_an_earlier_version_is_named(
    model: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(float_law.FloatLaw, "hidden", {})
    ended_behind_the_first_block(model, tmp_path / "out", monkeypatch)
    with pytest.raises(ModelError, match=r"begun by an earlier version. Begin anew: rm -r"):
        quantguard.quantize_to_folder(model, recipe("hadamard", "smoothquant"), tmp_path / "out")


def test_the_whole_model_is_held_to_it_where_every_part_seems_right(
    model: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the checks of parts, what goes from token ids to logits sees a head that nobody rotated."""
    ends_but("head")(monkeypatch)
    monkeypatch.setattr(float_law.FloatLaw, "_hold_ends", lambda *_terms: None)
    with pytest.raises(MeasurementError, match=r"^the whole model, from embedding to head, computes something else"):
        quantguard.quantize_to_folder(model, recipe("hadamard"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_where_there_is_no_transform_nothing_is_run(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_terms: object) -> None:
        raise AssertionError("there is nothing to hold")

    monkeypatch.setattr(float_law.FloatLaw, "__init__", never)
    quantguard.quantize(quantguard.load(model), recipe())


def test_a_float_model_that_computes_nan_is_named(model: str) -> None:
    loaded = quantguard.load(model)
    # Finite as they are stored, and infinite where they meet; the gate is open in one of the rows.
    linears = find_decoder(loaded.model).blocks[1].linears
    linears["model.layers.1.mlp.gate_proj"].weight.data[3:5] = torch.tensor([[1e30], [-1e30]])
    linears["model.layers.1.mlp.up_proj"].weight.data[3:5] = 1e30
    with pytest.raises(MeasurementError, match=r"^model\.layers\.1 of the float model computes NaN or infinity"):
        quantguard.quantize(loaded, recipe("hadamard"))


def test_learning_leaves_the_model_as_it_was(model: str) -> None:
    loaded = quantguard.load(model)
    decoder = find_decoder(loaded.model)
    before = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    transform = create_transforms(recipe("ostquant"))["ostquant"]
    transform.learn(decoder, embed(decoder, [list(range(40)), list(range(5, 25))]))
    after = loaded.model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert isinstance(transform, LearnedRotation)
    calibration = BlockCalibration(decoder.blocks[0], embed(decoder, [[1, 2]]), loaded.model.config)
    transform.prepare(decoder)
    transform.apply(calibration)
    assert not torch.equal(loaded.model.state_dict()["lm_head.weight"], before["lm_head.weight"])
