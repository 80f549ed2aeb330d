"""Every way into quantguard reads an odd folder as transformers does, or refuses it and names the file."""

import dataclasses
import hashlib
import pathlib
from typing import Any

import pytest
import torch
import transformers

import quantguard
from quantguard.engines._prompting import render
from quantguard.errors import ModelError, QuantguardError
from quantguard.modeling import stored_parameters, streaming
from quantguard.modeling.loading import weights_sha256
from quantguard.modeling.tensor_files import TensorFiles
from quantguard.modeling.tokenizer_files import load_tokenizer, render_chat
from tests.support import odd_folders
from tests.support.odd_folders import READ, REFUSED, Odd

IDS = torch.arange(3, 43)[None] * 7 % 256


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return torch.as_tensor(model(IDS).logits)


def require_alike(odd: Odd, folder: pathlib.Path, output: pathlib.Path) -> None:
    """Hold loading, streaming and the fingerprint against what transformers reads."""
    expected = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    loaded = quantguard.load(folder)
    assert torch.equal(logits(loaded.model), logits(expected))
    whole = hashlib.sha256(b"".join((folder / file).read_bytes() for file in odd.files)).hexdigest()
    assert loaded.weights_sha256 == whole
    saved = quantguard.load(quantguard.quantize_to_folder(folder, "w8a8", output).path, backend="reference")
    assert torch.equal(logits(saved.model), logits(quantguard.quantize(loaded, "w8a8", backend="reference").model))
    assert (saved.weights_sha256, saved.dtype) == (whole, loaded.dtype)
    theirs = expected.generation_config.eos_token_id
    assert loaded.model.generation_config.eos_token_id == saved.model.generation_config.eos_token_id == theirs
    template = transformers.AutoTokenizer.from_pretrained(folder).chat_template
    assert loaded.tokenizer.chat_template == saved.tokenizer.chat_template == template


@pytest.mark.parametrize("odd", READ, ids=lambda odd: odd.name)
def test_a_folder_is_read_as_transformers_reads_it(odd: Odd, tmp_path: pathlib.Path) -> None:
    require_alike(odd, odd_folders.write(tmp_path / "model", odd), tmp_path / "quantized")


@pytest.mark.parametrize("odd", REFUSED, ids=lambda odd: odd.name)
def test_a_folder_that_is_not_sure_is_refused_by_the_name_of_its_file(odd: Odd, tmp_path: pathlib.Path) -> None:
    folder = odd_folders.write(tmp_path / "model", odd)
    with pytest.raises(QuantguardError, match=odd.refused):
        quantguard.load(folder)
    with pytest.raises(QuantguardError, match=odd.refused):
        quantguard.quantize_to_folder(folder, "w8a8", tmp_path / "quantized")


def named(name: str) -> Odd:
    return next(odd for odd in READ if odd.name == name)


def test_a_reader_that_prefers_the_index_is_seen(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = named("one file beside an older index and its shards")
    folder = odd_folders.write(tmp_path / "model", odd)

    class Indexed(TensorFiles):
        def __init__(self, path: pathlib.Path, *, index: str) -> None:
            super().__init__(path, index=index, indexed=True)

    monkeypatch.setattr(stored_parameters, "TensorFiles", Indexed)
    with pytest.raises(AssertionError):
        require_alike(odd, folder, tmp_path / "quantized")


@pytest.mark.parametrize("name", ["tied, a head of its own", "tied, a head of its own, two shards"])
def test_a_reader_that_ties_regardless_is_seen(
    name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = odd_folders.write(tmp_path / "model", named(name))
    monkeypatch.setattr(streaming, "ties_head", lambda config, *_: config.tie_word_embeddings)
    with pytest.raises(AssertionError):
        require_alike(named(name), folder, tmp_path / "quantized")


@pytest.mark.parametrize("name", ["names without prefix", "names with the prefix twice"])
def test_a_reader_that_takes_names_as_they_are_is_seen(
    name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = odd_folders.write(tmp_path / "model", named(name))
    monkeypatch.setattr(stored_parameters, "parameter_name", lambda stored, *_: stored)
    with pytest.raises(QuantguardError):
        require_alike(named(name), folder, tmp_path / "quantized")


def test_a_reader_that_guesses_the_type_is_seen(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = named("bfloat16, no dtype")
    folder = odd_folders.write(tmp_path / "model", odd)
    monkeypatch.setattr("quantguard.modeling.loading.stored_dtype", lambda *_: torch.float32)
    with pytest.raises(AssertionError):
        require_alike(odd, folder, tmp_path / "quantized")


CHAT = [{"role": "user", "content": "How many?"}]


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{{ unknown_function(messages) }}", "unknown_function"),
        ("{{ raise_exception('no such chat') }}", "no such chat"),
        ("{{ messages[0].content + 1 }}", "TypeError"),
        ("{{ 1 // 0 }}", "ZeroDivisionError"),
    ],
    ids=["an undefined function", "a refusal of its own", "a wrong type", "a division by zero"],
)
def test_a_template_that_fails_on_a_chat_is_told_by_its_file(
    template: str, complaint: str, tmp_path: pathlib.Path
) -> None:
    folder = odd_folders.write(tmp_path / "model", Odd(name="", plant=odd_folders.both()))
    loaded = quantguard.load(folder)
    assert render_chat(
        dataclasses.replace(loaded, tokenizer=templated(folder, "{{ messages[0].content }}")).tokenizer, CHAT
    )
    with pytest.raises(ModelError, match=rf"chat_template\.jinja: .* fails on a chat of user.*{complaint}"):
        render(dataclasses.replace(loaded, tokenizer=templated(folder, template)), "How many?", None)


def templated(folder: pathlib.Path, template: str) -> Any:
    (folder / "chat_template.jinja").write_text(template)
    return load_tokenizer(folder)


def test_what_a_server_reads_is_hashed_for_a_server(tmp_path: pathlib.Path) -> None:
    odd = named("one file beside an older index and its shards")
    folder = odd_folders.write(tmp_path / "model", odd)
    whole = b"".join((folder / file).read_bytes() for file in odd_folders.BOTH)
    assert weights_sha256(folder) == hashlib.sha256(whole).hexdigest()
    for file in (odd_folders.INDEX, odd_folders.SINGLE):
        (folder / file).unlink()
    assert weights_sha256(folder) == hashlib.sha256(whole).hexdigest()
