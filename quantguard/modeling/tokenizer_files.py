"""The tokenizer and chat template of a folder: loaded as its files say, and held against them."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import tokenizers
import transformers
from transformers.utils.chat_template_utils import _compile_jinja_template as compile_template

from quantguard.errors import ModelError
from quantguard.modeling.foreign_errors import ErrorsToldAs

_SETTINGS, _FILE, _TEMPLATE = "tokenizer_config.json", "tokenizer.json", "chat_template.jinja"
_OBJECTS = (_SETTINGS, "special_tokens_map.json", "added_tokens.json", "vocab.json")
# Words, digits, spaces, marks and scripts that rules of splitting treat differently.
_PROBE = (
    "Tom's 35 pens cost $1,234.50; don't pay 12345678!",
    "  def f(x):\n\treturn x**2  # naïve café\n\n\nÜber große Mühe",
    "计算三加五等于多少。Сколько? ひらがな 🙂 a  b   c",
)


def load_tokenizer(path: pathlib.Path, *, num_tokens: int | None = None) -> Any:
    """Load the tokenizer of a folder, the generic class where the folder names it.

    AutoTokenizer puts the class of the architecture in its place, which splits text by rules of its own. Raises
    ModelError for files that are damaged, for a tokenizer.json that the class does not follow, and for tokens that a
    model with embeddings for ``num_tokens`` has no place for.
    """
    stored = _objects(path).get(_SETTINGS, {})
    tokenizer = _load(path, stored)
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and (path / _FILE).is_file():
        _require_same_splits(path, _read_file(path / _FILE), tokenizer)
    if num_tokens is not None:
        _require_place(path, tokenizer, num_tokens)
    _require_template(tokenizer)
    return tokenizer


def _objects(path: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Read the JSON objects that are there, by file; raise ModelError for a file, a template too, that is damaged."""
    found = {}
    for name in _OBJECTS:
        if (path / name).is_file():
            try:
                found[name] = dict(json.loads((path / name).read_text(encoding="utf-8")).items())
            except (OSError, ValueError, AttributeError) as error:
                raise ModelError(f"{path / name} is damaged: {error}; get it anew from where the model is") from error
    for file in path.glob("*.jinja"):
        try:
            file.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ModelError(f"{file} is damaged: {error}; get it anew from where the model is") from error
    return found


def _load(path: pathlib.Path, stored: Mapping[str, Any]) -> Any:
    named = stored.get("tokenizer_class")
    if "auto_map" in stored and not (path / _FILE).is_file():
        raise ModelError(
            f"the tokenizer of {path} ({named}) is code of its own, which quantguard does not run;"
            " convert it to a tokenizer.json beside it"
        )
    if "auto_map" in stored:
        named = "PreTrainedTokenizerFast"
    if (path / _FILE).is_file():
        _read_file(path / _FILE)
    generic = named in ("PreTrainedTokenizerFast", "TokenizersBackend")
    loader: Any = transformers.PreTrainedTokenizerFast if generic else transformers.AutoTokenizer
    beginnings = ("tokenizer", "vocab", "merges", "special")
    present = sorted(file.name for file in path.iterdir() if file.name.startswith(beginnings))
    with ErrorsToldAs(
        f"the tokenizer of {path} cannot be loaded from {', '.join(present) or 'what is there: no file of one'}"
    ):
        return loader.from_pretrained(path)


def _read_file(file: pathlib.Path) -> tokenizers.Tokenizer:
    with ErrorsToldAs(f"{file} is damaged, get it anew from where the model is"):
        read = tokenizers.Tokenizer.from_file(str(file))
        read.no_truncation()
        read.no_padding()
        return read


def _require_same_splits(path: pathlib.Path, file: tokenizers.Tokenizer, tokenizer: Any) -> None:
    """Raise ModelError where the class of a tokenizer reads or writes text otherwise than its file."""
    kind = type(tokenizer).__name__
    for text in _PROBE:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        expected = file.encode(text, add_special_tokens=False).ids
        written, meant = tokenizer.backend_tokenizer.decode(expected), file.decode(expected)
        if ids != expected or written != meant:
            what = f"splits {text!r} into {_start(expected)}" if ids != expected else f"reads its tokens as {meant!r}"
            other = _start(ids) if ids != expected else repr(written)
            raise ModelError(
                f"{path / _FILE} {what}, and {kind}, the class that transformers takes for it, into {other}. If the"
                f' file is right, write "tokenizer_class": "PreTrainedTokenizerFast" into {path / _SETTINGS}; if the'
                " class is, save the tokenizer anew with save_pretrained"
            )


def _start(ids: Sequence[int]) -> str:
    return f"{', '.join(map(str, ids[:8]))}{', …' if len(ids) > 8 else ''} ({len(ids)} tokens)"


def _require_place(path: pathlib.Path, tokenizer: Any, num_tokens: int) -> None:
    beyond = sorted((token_id, token) for token, token_id in tokenizer.get_vocab().items() if token_id >= num_tokens)
    if beyond:
        token_id, token = beyond[0]
        raise ModelError(
            f"{_file_of(path, token)} has the token {token!r} = {token_id}, and the model has embeddings for"
            f" {num_tokens} tokens, 0 to {num_tokens - 1} ({len(beyond)} tokens are beyond): the tokenizer is another"
            " model's, or the embedding was not enlarged with it (resize_token_embeddings)"
        )


def _file_of(path: pathlib.Path, token: str) -> pathlib.Path:
    """Return the file that a token stands in."""
    spellings = {token, json.dumps(token)[1:-1]}
    for name in (_FILE, "added_tokens.json", _SETTINGS, "special_tokens_map.json"):
        if (path / name).is_file() and any(s in (path / name).read_text(encoding="utf-8") for s in spellings):
            return path / name
    return path / _SETTINGS


def template_file(tokenizer: Any) -> pathlib.Path:
    """Return the file that a chat template was read from: chat_template.jinja before tokenizer_config.json."""
    folder = pathlib.Path(tokenizer.name_or_path)
    return folder / _TEMPLATE if (folder / _TEMPLATE).is_file() else folder / _SETTINGS


def _require_template(tokenizer: Any) -> None:
    """Raise ModelError for a template that is no Jinja; what it has against a chat shows when one is rendered."""
    stored = tokenizer.chat_template
    for template in stored.values() if isinstance(stored, dict) else [] if stored is None else [stored]:
        if not isinstance(template, str):
            raise ModelError(f"{template_file(tokenizer)}: chat_template is {template!r}; possible: a template as text")
        try:
            compile_template(template)
        except jinja2.TemplateSyntaxError as error:
            raise ModelError(
                f"{template_file(tokenizer)}: the chat template is damaged, line {error.lineno}: {error.message}"
            ) from error


def render_chat(
    tokenizer: Any, chat: Sequence[Mapping[str, str]], *, template: str | None = None, **options: Any
) -> str:
    """Return a chat as the text of the tokenizer's template; raise ModelError, naming its file, where it fails.

    ``template`` stands for the tokenizer's where it is given.
    """
    asked = f"a chat of {', '.join(message['role'] for message in chat)}{f' with {options}' if options else ''}"
    with ErrorsToldAs(f"{template_file(tokenizer)}: the chat template fails on {asked}"):
        text: str = tokenizer.apply_chat_template(chat, chat_template=template, tokenize=False, **options)
        return text
