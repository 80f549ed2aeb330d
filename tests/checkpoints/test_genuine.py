"""Checkpoints that other tools made give what their own library gives.

QUANTGUARD_PEER_CHECKPOINTS is a folder of them, each with ``expected.json`` (``token_ids`` in windows of ``window``
tokens, ``window_losses`` and ``perplexity`` of the tool's own model) and ``expected.safetensors`` (``token_ids``,
``logits`` of the start of the first window, and ``weights.<module>``, dequantized).
"""

import json
import math
import os
import pathlib
from typing import Any

import pytest
import safetensors.torch
import torch

import quantguard
from quantguard.checkpoints import recognise
from quantguard.modeling import LoadedModel, QuantLinear
from quantguard.modeling.tensor_files import TensorFiles
from quantguard.pipeline import checking
from tests.support.packed_checkpoints import weights_of

VARIABLE = "QUANTGUARD_PEER_CHECKPOINTS"
ROOT = os.environ.get(VARIABLE)
FOLDERS = sorted(path.parent for path in pathlib.Path(ROOT).glob("[!.]*/expected.json")) if ROOT else []
# Of the perplexity, relative.
TOLERANCE = 1e-3

pytestmark = pytest.mark.skipif(not ROOT, reason=f"{VARIABLE} names no folder of other tools' checkpoints")


def losses(model: Any, windows: torch.Tensor) -> list[float]:
    """The mean loss of each window, read by itself."""
    found = []
    for window in windows:
        with torch.no_grad():
            logits = model(window[None]).logits[0, :-1].float()
        found.append(float(torch.nn.functional.cross_entropy(logits, window[1:])))
    return found


def compute_as_float16(loaded: LoadedModel, weights: dict[str, torch.Tensor]) -> None:
    """Put float linears with weights rounded to float16 in the place of quantized ones, as GPTQModel computes."""
    for name, weight in weights.items():
        module = loaded.model.get_submodule(name)
        linear = torch.nn.Linear(module.in_features, module.out_features, bias=module.bias is not None)
        linear.load_state_dict(
            {"weight": weight.half().float()} | ({} if module.bias is None else {"bias": module.bias})
        )
        loaded.model.set_submodule(name, linear)


class FakeQuantized(torch.nn.Module):
    """A linear as compressed-tensors runs it: on floats, its input rounded, scales of tokens as max / 127.5."""

    def __init__(self, linear: QuantLinear, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        assert linear.input_activations is not None
        self.args, self.scale, self.zero_point = linear.input_activations, linear.input_scale, linear.input_zero_point
        self.weight, self.bias = weight, bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale, low, high = self.scale, self.args.minimum, self.args.maximum
        if scale is None:
            scale = x.abs().amax(dim=-1, keepdim=True) / ((high - low) / 2)
        zero_point = 0 if self.zero_point is None else self.zero_point
        rounded = (x / scale + zero_point).clamp(low, high).round()
        return torch.nn.functional.linear((rounded - zero_point) * scale, self.weight, self.bias)


def compute_as_compressed_tensors(loaded: LoadedModel, folder: pathlib.Path) -> None:
    """Put its arithmetic in the place of ours where inputs are rounded; weights and scales stay what was read."""
    stored = TensorFiles(folder)
    for name, weight in weights_of(loaded).items():
        linear = loaded.model.get_submodule(name)
        if linear.input_activations is not None:
            found = stored.read_named({f"{name}.bias"} & stored.entries.keys())
            bias = found[f"{name}.bias"].float() if found else None
            loaded.model.set_submodule(name, FakeQuantized(linear, weight, bias))


def test_there_are_checkpoints_to_compare() -> None:
    assert FOLDERS, f"{VARIABLE}={ROOT} holds no folder with an expected.json"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_imported_checkpoint_gives_what_its_own_library_gives(folder: pathlib.Path) -> None:
    if recognise(folder) is None:
        pytest.skip(f"{folder.name} is of a format that is not imported")
    assert checking.check(folder).defects == ()
    expected = json.loads((folder / "expected.json").read_text())
    if expected["tool"] == "msModelSlim":
        pytest.skip("msModelSlim loads nothing that it wrote: tests/studies/msmodelslim.md compares tensors")
    tensors = safetensors.torch.load_file(folder / "expected.safetensors")
    windows = tensors["token_ids"]
    assert windows.shape[1] == expected["window"]
    loaded = quantguard.load(folder, dtype=expected["computed_in"], backend="reference")
    assert any(isinstance(module, QuantLinear) for module in loaded.model.modules())
    rounded = "in float16" in expected["loaded_by"]
    if expected["tool"] == "llm-compressor":
        compute_as_compressed_tensors(loaded, folder)
    if rounded:
        weights = weights_of(loaded)
        compared = {name.removeprefix("weights."): t for name, t in tensors.items() if name.startswith("weights.")}
        assert compared
        for name, weight in compared.items():
            assert torch.equal(weights[name].half().float(), weight), name
    if not rounded or "smollm2" in expected["source"]:
        assert_perplexity(loaded, windows, expected)
    if rounded:
        # tiny-reasoner's perplexity moves by up to 0.12 % where its weights are rounded to float16 alone.
        compute_as_float16(loaded, weights)
        found = assert_perplexity(loaded, windows, expected)
        assert found == pytest.approx(expected["window_losses"], rel=1e-5)
        with torch.no_grad():
            logits = loaded.model(windows[:1, : len(tensors["logits"])]).logits[0]
        torch.testing.assert_close(logits, tensors["logits"], rtol=1e-3, atol=1e-3)


def assert_perplexity(loaded: LoadedModel, windows: torch.Tensor, expected: dict[str, Any]) -> list[float]:
    found = losses(loaded.model, windows)
    assert math.exp(sum(found) / len(found)) == pytest.approx(expected["perplexity"], rel=TOLERANCE)
    return found
