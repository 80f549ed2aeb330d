"""GPTQ and AWQ checkpoints mean what their packing says, whatever bits, groups and order they have."""

import json
import pathlib
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st

import quantguard
from quantguard.checkpoints import auto_awq, gptq, recognise
from quantguard.errors import ModelError
from quantguard.modeling import LoadedModel, QuantizedLayer, find_decoder
from quantguard.modeling.block_state import Tensors, block_state, restore_block
from quantguard.modeling.online import KroneckerTransform
from quantguard.modeling.quant_linear import QuantLinear
from quantguard.modeling.streaming import skeleton
from quantguard.numerics import QuantTensor, bit_stream, unpack_int4
from quantguard.pipeline import checking
from quantguard.records import LayerArgs, LayerReport, QuantArgs
from tests.support.packed_checkpoints import (
    Written,
    float_twin,
    pack_awq,
    pack_stream,
    small_model,
    weights_of,
    write_awq,
    write_gptq,
)

TOKENS = torch.arange(3, 67)[None]
VARIANTS: dict[str, dict[str, Any]] = {
    "4 bits": {},
    "2 bits": {"bits": 2},
    "3 bits": {"bits": 3},
    "8 bits": {"bits": 8},
    "3 bits, asymmetric": {"bits": 3, "sym": False},
    "8 bits, asymmetric": {"bits": 8, "sym": False},
    "act-order": {"desc_act": True},
    "act-order, asymmetric, v2": {"desc_act": True, "sym": False, "checkpoint_format": "gptq_v2"},
    "act-order, last group short": {"desc_act": True, "group_size": 64},
    "symmetric, v2": {"checkpoint_format": "gptq_v2"},
    "last group short": {"group_size": 64},
    "one group": {"group_size": -1},
    "one group, act-order": {"group_size": -1, "desc_act": True},
}


@pytest.fixture(scope="module")
def model() -> Any:
    return small_model()


@pytest.fixture(scope="module")
def act_order(model: Any, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A finished folder, for reading alone."""
    return write_gptq(model, desc_act=True).save(tmp_path_factory.mktemp("gptq"))


def load(folder: pathlib.Path) -> LoadedModel:
    return quantguard.load(folder, dtype="float32", backend="reference")


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(TOKENS).logits
    return found


def assert_means_the_same(model: Any, written: Written, folder: pathlib.Path) -> LoadedModel:
    assert checking.check(folder).defects == ()
    loaded = load(folder)
    found = weights_of(loaded)
    assert found.keys() == written.weights.keys()
    for name, weight in written.weights.items():
        assert torch.equal(found[name], weight), name
    torch.testing.assert_close(logits(loaded.model), logits(float_twin(model, written)), rtol=1e-4, atol=1e-5)
    return loaded


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_gptq_checkpoint_is_the_model_that_it_stands_for(
    model: Any, settings: dict[str, Any], tmp_path: pathlib.Path
) -> None:
    written = write_gptq(model, **settings)
    loaded = assert_means_the_same(model, written, written.save(tmp_path, shards=2))
    assert loaded.recipe is not None
    assert loaded.recipe.name == f"gptq-w{settings.get('bits', 4)}a16"


@pytest.mark.parametrize("settings", [{}, {"group_size": 64}, {"group_size": -1}, {"zero_point": False}], ids=str)
def test_an_awq_checkpoint_is_the_model_that_it_stands_for(
    model: Any, settings: dict[str, Any], tmp_path: pathlib.Path
) -> None:
    written = write_awq(model, **settings)
    loaded = assert_means_the_same(model, written, written.save(tmp_path, shards=2))
    assert loaded.recipe is not None
    assert loaded.recipe.name == "auto-awq-w4a16"


@pytest.mark.parametrize("desc_act", [False, True], ids=["in order", "act-order"])
def test_the_kernels_of_the_cpu_agree_with_the_reference(model: Any, desc_act: bool, tmp_path: pathlib.Path) -> None:  # noqa: FBT001
    folder = write_gptq(model, sym=False, group_size=64, desc_act=desc_act).save(tmp_path)
    compiled = quantguard.load(folder, dtype="float32", backend="cpu")
    torch.testing.assert_close(logits(compiled.model), logits(load(folder).model), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("write", [write_gptq, write_awq])
def test_linears_may_stay_float(model: Any, write: Any, tmp_path: pathlib.Path) -> None:
    written = write(model, float_linears=("o_proj",))
    if write is write_gptq:
        written.settings["dynamic"] = {r"-:.*\.o_proj$": {}, r".*\.down_proj$": {"group_size": 32}}
    loaded = assert_means_the_same(model, written, written.save(tmp_path))
    assert loaded.recipe is not None
    assert len(written.weights) == 12


def test_single_linears_may_have_other_settings(model: Any, tmp_path: pathlib.Path) -> None:
    written, other = write_gptq(model), write_gptq(model, bits=8, group_size=-1, sym=False, desc_act=True)
    for name in [name for name in written.tensors if ".1.mlp.down_proj." in name]:
        written.tensors[name] = other.tensors[name]
    written.weights["model.layers.1.mlp.down_proj"] = other.weights["model.layers.1.mlp.down_proj"]
    changed = {"bits": 8, "group_size": -1, "sym": False, "desc_act": True, "damp_percent": 0.1}
    written.settings["dynamic"] = {r"+:model\.layers\.1\.mlp\.down_proj": changed}
    assert_means_the_same(model, written, written.save(tmp_path))


def test_only_named_parts_of_a_block_may_be_quantized(model: Any, tmp_path: pathlib.Path) -> None:
    written = write_gptq(model, float_linears=("o_proj", "down_proj"))
    attention = [[f"self_attn.{part}_proj" for part in "qkv"]]
    written.settings["modules_in_block_to_quantize"] = [*attention, ["mlp.gate_proj", "mlp.up_proj"]]
    assert_means_the_same(model, written, written.save(tmp_path))


@pytest.mark.parametrize("name", ["gptq", "awq"])
def test_old_checkpoints_have_their_settings_in_a_file_of_their_own(
    model: Any, name: str, tmp_path: pathlib.Path
) -> None:
    written = write_gptq(model) if name == "gptq" else write_awq(model)
    settings = written.config.pop("quantization_config")
    folder = written.save(tmp_path)
    assert recognise(folder) is None
    if name == "gptq":
        del settings["quant_method"], settings["checkpoint_format"]
    (folder / "quantize_config.json").write_text(json.dumps(settings))
    assert recognise(folder) == ("gptq" if name == "gptq" else "auto-awq")
    assert_means_the_same(model, written, folder)
    (folder / "quantize_config.json").write_text("[")
    with pytest.raises(ModelError, match=r"quantize_config\.json cannot be read"):
        recognise(folder)


def test_zero_biases_that_old_tools_add_are_left_out_and_group_indices_may_be(
    model: Any, tmp_path: pathlib.Path
) -> None:
    written = write_gptq(model)
    for name in [name for name in written.tensors if name.endswith("g_idx")]:
        del written.tensors[name]
    written.tensors["model.layers.0.mlp.down_proj.bias"] = torch.zeros(64, dtype=torch.float16)
    assert_means_the_same(model, written, written.save(tmp_path))


def test_a_permuted_model_comes_back_from_its_block_states(act_order: pathlib.Path) -> None:
    stored = gptq.open_checkpoint(act_order)
    loaded, first, second = load(act_order), *(find_decoder(skeleton(stored.config, torch.float32)) for _ in range(2))
    expected = logits(loaded.model)
    for index, (block, place) in enumerate(zip(first.blocks, second.blocks, strict=True)):
        names = [name for name in stored.block_specs(block) if name in stored.tensors.entries]
        state, tensors = stored.decode(block, stored.tensors.read_named(names))
        layers = {name: quantized(name, tensors, args) for name, args in state.linears.items()}
        restore_block(block, state, tensors, config=stored.config, backend="reference", device_type="cpu")
        again, saved = block_state(block, layers, LayerReport(name=block.name))
        assert again == state
        order = saved[f"{block.name}.mlp.down_proj.input_permutation"]
        assert order.dtype == torch.int64
        assert sorted(order.tolist()) == list(range(96))
        restore_block(place, again, saved, config=stored.config, backend="reference", device_type="cpu")
        loaded.model.model.layers[index] = place.layer
    assert torch.equal(logits(loaded.model), expected)


def quantized(name: str, tensors: Tensors, args: LayerArgs) -> QuantizedLayer:
    data, scale = tensors[f"{name}.weight_data"], tensors[f"{name}.weight_scale"]
    columns = len(tensors[f"{name}.input_permutation"])
    weight = QuantTensor(data=unpack_int4(data, columns), scale=scale, zero_point=None, args=args.weights)
    return QuantizedLayer(weight=weight, input_activations=None)


def test_a_lost_permutation_would_be_seen(act_order: pathlib.Path) -> None:
    loaded = load(act_order)
    expected = logits(loaded.model)
    down = loaded.model.model.layers[0].mlp.down_proj
    down.input_permutation = down.input_permutation.flip(0)
    assert not torch.allclose(logits(loaded.model), expected, atol=1e-3)
    down.input_permutation = None
    assert not torch.allclose(logits(loaded.model), expected, atol=1e-3)


def test_a_permutation_works_behind_a_transform() -> None:
    torch.manual_seed(0)
    order, weight = torch.randperm(64), torch.randint(-8, 8, (32, 64), dtype=torch.int8)
    args = QuantArgs(num_bits=4, strategy="channel")
    tensor = QuantTensor(data=weight, scale=torch.full((32, 1), 0.1), zero_point=None, args=args)
    transform, x = KroneckerTransform(torch.randn(8, 8), torch.randn(8, 8)), torch.randn(3, 64)
    linear = QuantLinear(
        tensor,
        None,
        input_activations=None,
        backend="reference",
        device_type="cpu",
        input_transform=transform,
        input_permutation=order,
    )
    torch.testing.assert_close(linear(x), transform(x)[:, order] @ (0.1 * weight.float()).t())


@hypothesis.given(st.data())
def test_packed_streams_come_back(data: st.DataObject) -> None:
    bits = data.draw(st.sampled_from((2, 3, 4, 8)))
    rows, count = data.draw(st.integers(1, 3)), 32 * data.draw(st.integers(1, 3))
    values = np.array(data.draw(lists(rows * count, 2**bits - 1))).reshape(rows, count)
    packed = torch.from_numpy(np.ascontiguousarray(pack_stream(values.T, bits).T))
    assert packed.shape == (rows, bit_stream.num_words(count, bits))
    assert np.array_equal(bit_stream.unpack_unsigned(packed, bits).numpy(), values)
    marked = torch.from_numpy(values == 2**bits - 1)
    expected = np.zeros(packed.shape, bool)
    for row, column in zip(*np.nonzero(marked.numpy()), strict=True):
        expected[row, column * bits // 32] = True
    assert np.array_equal(bit_stream.mark_words(marked, bits).numpy(), expected)


@hypothesis.given(st.data())
def test_a_repeated_value_is_packed_like_any(data: st.DataObject) -> None:
    bits = data.draw(st.sampled_from((2, 3, 4, 8)))
    value, count = data.draw(st.integers(0, 2**bits - 1)), 32 * data.draw(st.integers(1, 3))
    packed = pack_stream(np.full((count, 1), value), bits)[:, 0]
    assert np.array_equal(bit_stream.repeated(value, bits, count).numpy(), packed)


@hypothesis.given(st.data())
def test_packed_awq_words_come_back_with_outputs_first(data: st.DataObject) -> None:
    rows, outputs = data.draw(st.integers(1, 5)), 8 * data.draw(st.integers(1, 4))
    values = np.array(data.draw(lists(rows * outputs, 15))).reshape(rows, outputs)
    found = auto_awq._unpack(torch.from_numpy(pack_awq(values)))
    assert np.array_equal(found.numpy(), values.T - 8)


def lists(count: int, largest: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, largest), min_size=count, max_size=count)


def test_awq_words_hold_outputs_in_their_known_order() -> None:
    # The lowest four bits hold output 0, the next ones outputs 2, 4, 6, 1, 3, 5 and 7.
    word = torch.tensor([[0x76543210]], dtype=torch.int32)
    assert (auto_awq._unpack(word)[:, 0] + 8).tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
