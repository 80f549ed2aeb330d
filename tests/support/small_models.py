"""Small random models of whatever architectures transformers has, and what must hold of one that is accepted."""

import functools
import json
import pathlib
import string
from collections.abc import Callable, Iterator
from typing import Any

import tokenizers
import torch
import transformers

import quantguard
from quantguard import transforms
from quantguard.engines._prompting import Request
from quantguard.engines.transformers import generation as engine
from quantguard.modeling import BlockCalibration, Decoder, LoadedModel, embed, find_decoder
from quantguard.records import CalibrationArgs, GenerationConfig, QuantArgs, Recipe

VOCABULARY = 64
WINDOW = 16
# Longer than the window, and shorter; the empty template leaves them as they are.
PROMPTS = ("a b c d e f g", "b", " ".join("abcdefghij"[i * i % 7] for i in range(41)), "c a b " * 8)
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "max_position_embeddings": 128,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
FEW = CalibrationArgs(dataset="python-docs", num_samples=4, max_length=40)
EIGHT_BITS = QuantArgs(num_bits=8, strategy="channel")
PER_TOKEN = QuantArgs(num_bits=8, strategy="token", dynamic=True)
STREAMED = Recipe(
    name="streamed",
    transforms=("smoothquant",),
    weights=EIGHT_BITS,
    input_activations=QuantArgs(num_bits=8, strategy="tensor"),
    calibration=FEW,
)
CACHED = Recipe(name="cached", weights=EIGHT_BITS, kv_cache=PER_TOKEN)
TRANSFORMED = Recipe(name="law", weights=EIGHT_BITS, input_activations=PER_TOKEN, kv_cache=PER_TOKEN)
TRANSFORMS: dict[str, dict[str, Any]] = {"smoothquant": {"all_pairs": True}, "awq": {}, "hadamard": {}}
# Norms of transformers compute in float32 whatever they are given.
LARGEST_CHANGE = 1e-4


def small_config(kind: str, **settings: Any) -> Any:
    """Return the configuration of an architecture at small sizes, as far as it has them."""
    known = transformers.AutoConfig.for_model(kind).to_dict()
    sizes = {name: size for name, size in SIZES.items() if name in known}
    return transformers.AutoConfig.for_model(kind, **sizes, **settings)


def small_model(kind: str, **settings: Any) -> Any:
    """Make a model whose norms and biases are not at their initial ones and zeros."""
    config = small_config(kind, **settings)
    torch.manual_seed(0)
    auto: Any = transformers.AutoModelForCausalLM
    model = auto.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.uniform_(0.5, 1.5)
            else:
                parameter.normal_(std=1.0 if "embed" in name else 1.2 / parameter.shape[-1] ** 0.5)
    return model


def save(model: Any, folder: pathlib.Path) -> pathlib.Path:
    """Write a model with a tokenizer of one letter a token."""
    model.save_pretrained(folder)
    words = ["<s>", "</s>", "<pad>", " ", *string.ascii_letters, *".,:;()[]"]
    letters = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: index for index, word in enumerate(words)}, unk_token=".")
    )
    letters.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    letters.decoder = tokenizers.decoders.Fuse()
    letters.save(str(folder / "tokenizer.json"))
    named = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    return folder


def broken_laws(model: Any, folder: pathlib.Path) -> Iterator[str]:
    """Say what does not hold of an accepted model: nothing, where it is right."""
    loaded = quantguard.load(save(model, folder / "model"))
    laws: dict[str, Callable[[], bool]] = {
        "it computes the logits of transformers": lambda: torch.equal(logits(loaded.model), logits(model)),
        "calibration sees what the model computes": lambda: _calibration_follows(loaded, model),
        **{f"{name} keeps the function": functools.partial(_is_kept, folder, name) for name in TRANSFORMS},
        "streamed and in memory are one": lambda: _streams(loaded, folder),
        "it generates what transformers does": lambda: (
            generated(loaded) == [greedy(model, ids) for ids in _ids(loaded)]
        ),
        "it generates from its cache what it does without": lambda: _caches(loaded),
    }
    for name, holds in laws.items():
        if not holds():
            yield name


def tokens(rows: int = 3) -> torch.Tensor:
    return torch.randint(3, VOCABULARY, (rows, 40), generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def logits(model: Any) -> torch.Tensor:
    values: torch.Tensor = model(input_ids=tokens(), use_cache=False).logits
    return values


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def _calibration_follows(loaded: LoadedModel, model: Any) -> bool:
    """Run sequences of unlike length through the blocks as calibration does, and on to the logits."""
    decoder = find_decoder(loaded.model)
    texts = [*tokens().tolist(), tokens().tolist()[0][:23]]
    activations = embed(decoder, texts)
    for block in decoder.blocks:
        activations = BlockCalibration(block, activations, loaded.model.config).float_outputs()
    for batch in activations.batches:
        with torch.inference_mode():
            found = decoder.head(decoder.norm(batch.hidden)) * decoder.logit_scale
            expected = model(input_ids=batch.token_ids, use_cache=False).logits
        if distance(batch.words(found), batch.words(expected)) > LARGEST_CHANGE:
            return False
    return True


def _is_kept(folder: pathlib.Path, name: str) -> bool:
    loaded = quantguard.load(folder / "model")
    before = logits(loaded.model)
    decoder: Decoder = find_decoder(loaded.model)
    activations = embed(decoder, tokens().tolist())
    transform = transforms.members[name].create(TRANSFORMED, TRANSFORMS[name])
    transform.prepare(decoder)
    for block in decoder.blocks:
        calibration = BlockCalibration(block, activations, loaded.model.config)
        transform.apply(calibration)
        activations = calibration.float_outputs()
    return distance(logits(loaded.model), before) < LARGEST_CHANGE


def _streams(loaded: LoadedModel, folder: pathlib.Path) -> bool:
    quantguard.quantize_to_folder(folder / "model", STREAMED, folder / "streamed", backend="reference")
    streamed = quantguard.load(folder / "streamed", backend="reference")
    in_memory = quantguard.quantize(loaded, STREAMED, backend="reference")
    return torch.equal(logits(streamed.model), logits(in_memory.model))


def _caches(loaded: LoadedModel) -> bool:
    quantized = quantguard.quantize(loaded, CACHED, backend="reference")
    return generated(quantized) == [greedy(quantized.model, ids, use_cache=False) for ids in _ids(loaded)]


def _ids(loaded: LoadedModel) -> list[list[int]]:
    return [loaded.tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in PROMPTS]


def generated(loaded: LoadedModel) -> list[list[int]]:
    """Return the tokens that the engine writes in answer to the prompts, all in one batch."""
    answers: dict[str, list[int]] = {}

    def finished(generation: Any) -> None:
        answers[generation.sample_id] = loaded.tokenizer(generation.text, add_special_tokens=False)["input_ids"]

    requests = [Request(sample_id=str(index), epoch=0, text=prompt) for index, prompt in enumerate(PROMPTS)]
    engine.generate(loaded, requests, GenerationConfig(max_new_tokens=24), batch_size=len(PROMPTS), finished=finished)
    return [answers[str(index)] for index in range(len(PROMPTS))]


@torch.inference_mode()
def greedy(model: Any, ids: list[int], *, use_cache: bool = True) -> list[int]:
    """Return what transformers writes, without the special tokens that text leaves out."""
    if use_cache:
        written = model.generate(torch.tensor([ids]), max_new_tokens=24, do_sample=False, pad_token_id=2)[0].tolist()
    else:
        written = list(ids)
        while len(written) < len(ids) + 24 and (written[-1] != 1 or len(written) == len(ids)):
            written.append(int(model(input_ids=torch.tensor([written]), use_cache=False).logits[0, -1].argmax()))
    return [token for token in written[len(ids) :] if token > 2]
