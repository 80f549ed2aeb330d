"""Law: whatever a quantized model runs is an operation of its record, on the backend that stands there; nothing else.

Every Python function of `quantguard/kernels` and `quantguard/numerics` that code from elsewhere calls while a model
runs has to be the body of an operation that the record names.
"""

import dataclasses
import pathlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import transformers
from torch import nn

import quantguard
from quantguard.errors import KernelError
from quantguard.kernels import resolve
from quantguard.kernels.ascend.device import EMULATED, emulate
from quantguard.modeling import QuantLinear, find_decoder
from quantguard.modeling.attention import AttentionExtension
from quantguard.modeling.integer_cache import new_cache
from quantguard.modeling.kv_store import KVStore
from quantguard.modeling.online import KroneckerTransform
from quantguard.modeling.slots import SlotCache, Window
from quantguard.modeling.swapping import kernels_in_use
from quantguard.numerics import KVQuantizer
from quantguard.numerics.kronecker import kronecker_multiply
from quantguard.pipeline.quantizing import quantize_decoder
from quantguard.recipes import load_recipe
from quantguard.records import CalibrationArgs, QuantArgs, Recipe

PACKAGE = pathlib.Path(quantguard.__file__).parent
TRAPPED = tuple(str(PACKAGE / folder) for folder in ("kernels", "numerics"))
RECIPES = sorted(path.stem for path in (PACKAGE / "recipes").glob("*.toml"))
# What a body is called by.
ENTRIES = ("apply", "apply_asymmetric", "quantize_and_apply", "store", "restore")
# Training to no purpose: what is learned does not matter here.
SHORT = {"epochs": 1, "steps": 1, "warm_up_steps": 0}
# What the vendor's operations cannot do of a bundled recipe, by the first operation that is refused.
REFUSED = dict.fromkeys(("ostquant-w4a4kv4", "quarot-w4a4kv4", "spinquant-w4a4kv4"), "quantize_per_token")
IDS = torch.arange(2 * 12).view(2, 12)


def small_model(dtype: torch.dtype) -> Any:
    """Make a model of one layer whose widths the vendor's operations take."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": 97,
        "hidden_size": 128,
        "intermediate_size": 256,
        "max_position_embeddings": 64,
    }
    heads: dict[str, Any] = {"num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2}
    config: Any = transformers.Qwen2Config(**sizes, **heads, tie_word_embeddings=False)
    model: Any = transformers.Qwen2ForCausalLM(config)
    return model.to(dtype).eval()


def shortened(recipe: Recipe) -> Recipe:
    """Return a recipe that learns for one step."""
    options = {
        name: {key: SHORT.get(key, value) for key, value in settings.items()}
        for name, settings in recipe.options.items()
    }
    return dataclasses.replace(recipe, options=options)


def quantized(name: str, device_type: str, *, backend: str = "auto") -> Any:
    emulate()
    model = small_model(torch.bfloat16 if device_type == EMULATED and name not in REFUSED else torch.float32)
    text = torch.randint(0, 97, (2, 24), generator=torch.Generator().manual_seed(1)).tolist()
    settings = CalibrationArgs(dataset="none")
    decoder, recipe = find_decoder(model), shortened(load_recipe(name))
    quantize_decoder(decoder, recipe, text, settings, backend=backend, device_type=device_type)
    return model


@torch.inference_mode()
def run(model: Any) -> None:
    """Read a text at once, and write one as either generation loop does: a prompt, then a token at a time."""
    model(IDS, use_cache=False)
    grown = new_cache(model)
    for ids in (IDS[:, :8], IDS[:, 8:9], IDS[:, 9:10]):
        model(ids, past_key_values=grown, use_cache=True)
    slots = SlotCache(model, num_slots=2, capacity=12)
    slots.window = Window(first=0, last=2, positions=0, num_visible=8)
    prompt = torch.arange(8)
    mask = additive(torch.ones(8, 8, dtype=torch.bool).triu(1), model)[None, None]
    model(IDS[:, :8], attention_mask=mask, position_ids=prompt[None], past_key_values=slots, use_cache=True)
    places = torch.tensor([8, 6])
    slots.window = Window(first=0, last=2, positions=places, num_visible=9)
    mask = additive(torch.arange(9) > places[:, None], model)[:, None, None]
    model(IDS[:, 8:9], attention_mask=mask, position_ids=places[:, None], past_key_values=slots, use_cache=True)


def additive(hidden: torch.Tensor, model: Any) -> torch.Tensor:
    return torch.zeros(hidden.shape, dtype=model.dtype).masked_fill_(hidden, -torch.inf)


def called_from_outside(action: Callable[[], None]) -> dict[types.CodeType, str]:
    """Return the functions of kernels and numerics that other parts of quantguard call, with the file of the caller."""
    seen: dict[types.CodeType, str] = {}

    def profile(frame: types.FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(TRAPPED):
            caller = frame.f_back
            # An operation of the vendor comes back to us by way of torch.
            while caller is not None and not caller.f_code.co_filename.startswith(str(PACKAGE)):
                caller = caller.f_back
            if caller is not None and not caller.f_code.co_filename.startswith(TRAPPED):
                seen[frame.f_code] = caller.f_code.co_filename

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(before)
    return seen


def recorded_bodies(model: nn.Module) -> Iterator[tuple[str, str, set[types.CodeType]]]:
    """Return every operation of the record, its backend and what its body is called by."""
    for op, told in kernels_in_use(model).items():
        for backend in (part.rpartition(" (")[0] for part in told.split("), ")):
            backend_name = backend.strip()
            if backend_name != "fake quantization":
                body = resolve(op, backend_name)
                entries = (getattr(body, entry, None) for entry in ENTRIES)
                yield op, backend_name, {entry.__code__ for entry in entries if entry is not None}


def require_all_recorded(model: Any) -> None:
    """Ask that all that runs is in the record, and all that is in the record runs."""
    seen = called_from_outside(lambda: run(model))
    bodies = list(recorded_bodies(model))
    known = {code for *_, codes in bodies for code in codes}
    strays = {f"{code.co_qualname} of {code.co_filename} by {who}" for code, who in seen.items() if code not in known}
    assert not strays
    for op, backend, codes in bodies:
        assert codes & set(seen) or op in ops_within_others(model), f"{op} on {backend} did not run"


def ops_within_others(model: nn.Module) -> set[str]:
    """Return the quantizations that linears run within their own call."""
    linears = [module for module in model.modules() if isinstance(module, QuantLinear)]
    return {"quantize_per_token" for linear in linears if linear.plan.kind == "fused"}


def expected_ops(model: nn.Module, recipe: Recipe) -> set[str]:
    """Return what a record has to name by what the recipe asks for and what transforms the model has."""
    ops = {"kv_cache"} if recipe.kv_cache is not None else set()
    extensions = [module for module in model.modules() if isinstance(module, AttentionExtension)]
    if any(extension.key_transform is not None for extension in extensions):
        ops.add("rotate")
    return ops


@pytest.mark.parametrize("device_type", ["cpu", EMULATED])
@pytest.mark.parametrize("name", RECIPES)
def test_the_record_names_every_operation_that_runs(name: str, device_type: str) -> None:
    if device_type == EMULATED and name in REFUSED:
        with pytest.raises(KernelError, match=f"no kernel for {REFUSED[name]} "):
            quantized(name, device_type)
        return
    model = quantized(name, device_type)
    kernels = kernels_in_use(model)
    require_all_recorded(model)
    assert expected_ops(model, load_recipe(name)) <= set(kernels)
    rotations = [module for module in model.modules() if isinstance(module, KroneckerTransform)]
    assert bool(rotations) <= bool({"rotate", "rotate_quantize_per_token"} & set(kernels))
    backends = {backend for _, backend, _ in recorded_bodies(model)}
    assert backends <= ({"ascend"} if device_type == EMULATED else {"cpu", "reference"})


def rotates_by_itself(patch: pytest.MonkeyPatch) -> None:
    def forward(self: KroneckerTransform, x: torch.Tensor) -> torch.Tensor:
        return kronecker_multiply(x.float(), self.left, self.right).to(x.dtype)

    patch.setattr(KroneckerTransform, "forward", forward)


def stores_by_itself(patch: pytest.MonkeyPatch) -> None:
    def store(self: KVStore, keys: torch.Tensor, values: torch.Tensor) -> Any:
        return self.quantizers[0].store(keys), self.quantizers[1].store(values)

    def restore_part(self: KVStore, stored: Any, index: int, dtype: torch.dtype) -> torch.Tensor:
        return self.quantizers[index].restore(stored).to(dtype)

    patch.setattr(KVStore, "store", store)
    patch.setattr(KVStore, "restore_part", restore_part)


def leaves_out_the_cache(patch: pytest.MonkeyPatch) -> None:
    choose = AttentionExtension.choose_kernels

    def unrecorded(self: AttentionExtension, **settings: Any) -> None:
        choose(self, **settings)
        self.kernels = {}

    patch.setattr(AttentionExtension, "choose_kernels", unrecorded)


@pytest.mark.parametrize(
    "plant",
    [
        pytest.param(rotates_by_itself, id="a rotation around the dispatch"),
        pytest.param(stores_by_itself, id="a KV cache around the dispatch"),
        pytest.param(leaves_out_the_cache, id="a KV cache that is not in the record"),
    ],
)
def test_a_planted_operation_beside_the_record_is_seen(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    model = quantized("quarot-w8a8kv8", "cpu")
    with pytest.raises(AssertionError, match=" by "):
        require_all_recorded(model)


def test_an_operation_of_the_record_that_does_not_run_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = quantized("quarot-w8a8kv8", "cpu")
    monkeypatch.setattr(KroneckerTransform, "forward", lambda _self, x: x)
    monkeypatch.setattr(AttentionExtension, "transform_keys", lambda _self, keys: keys)
    monkeypatch.setattr(AttentionExtension, "transform_queries", lambda _self, queries: queries)
    with pytest.raises(AssertionError, match="rotate on cpu did not run"):
        require_all_recorded(model)


def test_a_named_backend_without_an_operation_raises() -> None:
    transform = KroneckerTransform(torch.eye(8), torch.eye(16))
    with pytest.raises(KernelError, match=r"no kernel for rotate .* the 'triton' backend has no rotate"):
        transform.choose_kernels(128, backend="triton", device_type="cpu")
    extension = AttentionExtension()
    extension.key_transform = extension.query_transform = torch.eye(32)
    with pytest.raises(KernelError, match=r"no kernel for rotate .* the 'triton' backend has no rotate"):
        extension.choose_kernels(backend="triton", device_type="cpu")


def test_a_named_backend_that_cannot_store_such_keys_raises() -> None:
    emulate()
    extension = AttentionExtension()
    args = QuantArgs(num_bits=4, strategy="token", dynamic=True, clip_ratio=0.9)
    extension.quantizers = (KVQuantizer(args=args), KVQuantizer(args=args))
    with pytest.raises(
        KernelError, match=r"no kernel for kv_cache with 4-bit symmetric keys and values, clip_ratio 0\.9"
    ):
        extension.choose_kernels(backend="ascend", device_type=EMULATED)
