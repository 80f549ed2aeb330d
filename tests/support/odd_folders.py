"""Small random models in folders that are odd in one way each, and what is to come of them."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import safetensors.torch
import tokenizers
import torch
import transformers
from tokenizers import decoders, models, pre_tokenizers, trainers

VOCABULARY = 320
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
_TEXT = ["The quick brown fox jumps over the lazy dog. What is 12 plus 30? Ann has 3 apples."] * 8
Tensors = dict[str, torch.Tensor]
Plant = Callable[[pathlib.Path], object]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Odd:
    """A folder that is odd: how it is made of a plain one, and ``refused``, what a refusal has to name, if it is one.

    ``files`` are those that its weights are read from, ``settings`` are of its configuration.
    """

    name: str
    plant: Plant
    refused: str | None = None
    files: tuple[str, ...] = (SINGLE,)
    kind: str = "llama"
    dtype: str = "float32"
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def write(folder: pathlib.Path, odd: Odd) -> pathlib.Path:
    """Write the folder of a case."""
    folder.mkdir()
    auto: Any = transformers.AutoModelForCausalLM
    config = transformers.AutoConfig.for_model(
        odd.kind,
        **{
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "max_position_embeddings": 128,
            "tie_word_embeddings": False,
            **odd.settings,
        },
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = auto.from_config(config)
        for parameter in model.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
    model.to(getattr(torch, odd.dtype)).save_pretrained(folder)
    write_tokenizer(folder)
    odd.plant(folder)
    return folder


def write_tokenizer(folder: pathlib.Path, **settings: object) -> None:
    """Write a byte-level tokenizer of the generic class."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_TEXT, trainer)
    backend.save(str(folder / "tokenizer.json"))
    stored = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(stored | settings))


def read(folder: pathlib.Path, file: str = SINGLE) -> Tensors:
    return dict(safetensors.torch.load_file(folder / file))


def save(folder: pathlib.Path, tensors: Tensors, file: str = SINGLE) -> None:
    safetensors.torch.save_file(
        {n: t.clone().contiguous() for n, t in tensors.items()}, folder / file, {"format": "pt"}
    )


def tensors(change: Callable[[Tensors], object]) -> Plant:
    """Change the tensors of the one file; what ``change`` returns, if it is a dictionary, takes their place."""

    def plant(folder: pathlib.Path) -> None:
        stored = read(folder)
        changed = change(stored)
        save(folder, changed if isinstance(changed, dict) else stored)

    return plant


def in_json(name: str, change: Callable[[dict[str, Any]], object]) -> Plant:
    """Change a JSON file, which is made where there is none."""

    def plant(folder: pathlib.Path) -> None:
        stored = json.loads((folder / name).read_text()) if (folder / name).is_file() else {}
        change(stored)
        (folder / name).write_text(json.dumps(stored))

    return plant


def content(name: str, text: str | bytes) -> Plant:
    """Write a file."""
    return lambda folder: (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def removed(name: str) -> Plant:
    return lambda folder: (folder / name).unlink()


def both(*plants: Plant) -> Plant:
    """Plant one after another."""

    def plant(folder: pathlib.Path) -> None:
        for one in plants:
            one(folder)

    return plant


def sharded(folder: pathlib.Path) -> None:
    """Split the one file in two, with an index."""
    stored = read(folder)
    names = sorted(stored)
    parts = {FIRST: names[: len(names) // 2], SECOND: names[len(names) // 2 :]}
    for file, own in parts.items():
        save(folder, {name: stored[name] for name in own}, file)
    weight_map = {name: file for file, own in parts.items() for name in own}
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    (folder / SINGLE).unlink()


def in_shard(file: str, change: Callable[[Tensors], object]) -> Plant:
    def plant(folder: pathlib.Path) -> None:
        stored = read(folder, file)
        change(stored)
        save(folder, stored, file)

    return plant


def cut(name: str, num_bytes: int) -> Plant:
    """Leave only the first bytes of a file."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:num_bytes])


def beside_an_older_index(folder: pathlib.Path) -> None:
    stored = read(folder)
    save(folder, {name: tensor * 2 for name, tensor in stored.items()})
    sharded(folder)
    save(folder, stored)


def as_in_the_cache_of_the_hub(folder: pathlib.Path) -> None:
    """Move every file into a folder of blobs, and leave links."""
    blobs = folder.parent / "blobs"
    blobs.mkdir()
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(blobs / f"{number:040x}")
        file.symlink_to(pathlib.Path("..") / "blobs" / f"{number:040x}")


def read_only(folder: pathlib.Path) -> None:
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)


def of_a_class_with_rules_of_its_own(folder: pathlib.Path) -> None:
    """Name a class that splits by a pattern of its own, where tokenizer.json takes every digit by itself."""
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    own = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=True)]
    backend.pre_tokenizer = pre_tokenizers.Sequence(own)
    backend.save(str(folder / "tokenizer.json"))
    in_json("tokenizer_config.json", lambda s: s.update(tokenizer_class="Qwen2Tokenizer"))(folder)


def named_templates(folder: pathlib.Path) -> None:
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tools.jinja").write_text("{{ tools }}")
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")


def doubled_head(stored: Tensors) -> None:
    stored[HEAD] = stored[EMBEDDING] * 2 + 0.1


def prefixed(prefix: str) -> Plant:
    return tensors(lambda stored: {prefix + name: tensor for name, tensor in stored.items()})


def without_prefix(stored: Tensors) -> Tensors:
    return {name.removeprefix("model."): tensor for name, tensor in stored.items()}


def dangling(folder: pathlib.Path) -> None:
    (folder / SINGLE).unlink()
    (folder / SINGLE).symlink_to(folder.parent / "gone")


def first_in_float16(stored: Tensors) -> None:
    for name in sorted(stored)[:4]:
        stored[name] = stored[name].half()


TIED = {"tie_word_embeddings": True}
NORM = "model.norm.weight"
K = "model.layers.1.self_attn.k_proj.weight"
NO_DTYPE = in_json("config.json", lambda stored: stored.pop("dtype", None))
BOTH = (FIRST, SECOND)
READ = (
    Odd(name="plain", plant=both()),
    Odd(name="qwen2, with biases", plant=both(), kind="qwen2"),
    Odd(name="qwen3, with norms of heads", plant=both(), kind="qwen3"),
    Odd(name="two shards", plant=sharded, files=BOTH),
    Odd(name="one file beside an older index and its shards", plant=beside_an_older_index),
    Odd(name="one file beside a broken index", plant=content(INDEX, "{")),
    Odd(name="one file beside the shards of another model", plant=lambda f: save(f, {"x": torch.ones(3)}, FIRST)),
    Odd(
        name="an index that lacks a tensor",
        plant=both(sharded, in_json(INDEX, lambda s: s["weight_map"].pop(K))),
        files=BOTH,
    ),
    Odd(
        name="an index that names the other shard",
        plant=both(sharded, in_json(INDEX, lambda s: s["weight_map"].update({EMBEDDING: FIRST, NORM: FIRST}))),
        files=BOTH,
    ),
    Odd(
        name="an index with a wrong total size",
        plant=both(sharded, in_json(INDEX, lambda s: s["metadata"].update(total_size=10**12))),
        files=BOTH,
    ),
    Odd(name="tied, no head", plant=both(), settings=TIED),
    Odd(name="tied, the same head", plant=tensors(lambda s: s.update({HEAD: s[EMBEDDING]})), settings=TIED),
    Odd(name="tied, a head of its own", plant=tensors(doubled_head), settings=TIED),
    Odd(
        name="tied, a head of its own, two shards",
        plant=both(tensors(doubled_head), sharded),
        settings=TIED,
        files=BOTH,
    ),
    Odd(
        name="tied, a head that is the embedding in bfloat16",
        plant=both(
            tensors(lambda s: s.update({HEAD: s[EMBEDDING].bfloat16()})),
            in_json("config.json", lambda s: s.update(dtype="bfloat16")),
        ),
        settings=TIED,
    ),
    Odd(name="tied, a head alone", plant=tensors(lambda s: s.update({HEAD: s.pop(EMBEDDING)})), settings=TIED),
    Odd(name="not tied, the same head", plant=tensors(lambda s: s.update({HEAD: s[EMBEDDING].clone()}))),
    Odd(name="names without prefix", plant=tensors(without_prefix)),
    Odd(name="names with the prefix twice", plant=prefixed("model.")),
    Odd(name="some names without prefix", plant=tensors(lambda s: s.update({"norm.weight": s.pop(NORM)}))),
    Odd(name="bfloat16, no dtype", plant=NO_DTYPE, dtype="bfloat16"),
    Odd(name="mixed types, no dtype", plant=both(NO_DTYPE, tensors(first_in_float16))),
    Odd(name="mixed types, two shards, no dtype", plant=both(NO_DTYPE, tensors(first_in_float16), sharded), files=BOTH),
    Odd(name="float32 files, float16 in config", plant=in_json("config.json", lambda s: s.update(dtype="float16"))),
    Odd(
        name="float32 files, the older torch_dtype",
        plant=both(NO_DTYPE, in_json("config.json", lambda s: s.update(torch_dtype="bfloat16"))),
    ),
    Odd(
        name="a type in the index, none in config",
        plant=both(sharded, NO_DTYPE, in_json(INDEX, lambda s: s["metadata"].update(dtype="bfloat16"))),
        files=BOTH,
    ),
    Odd(name="links into a cache", plant=as_in_the_cache_of_the_hub),
    Odd(name="read-only", plant=read_only),
    Odd(
        name="much else beside",
        plant=both(
            content("pytorch_model.bin", "x"),
            content("model.gguf", "GGUF"),
            content("consolidated.safetensors", "x"),
            content("training_args.bin", "x"),
            content("model.fp16.safetensors", "x"),
        ),
    ),
    Odd(
        name="computed frequencies stored",
        plant=tensors(lambda s: s.update({f"{K[:-13]}rotary_emb.inv_freq": s[NORM]})),
    ),
    Odd(
        name="weights under a name of config.json",
        plant=both(
            in_json("config.json", lambda s: s.update(transformers_weights="other.safetensors")),
            lambda folder: save(folder, {n: t * 2 for n, t in read(folder).items()}, "other.safetensors"),
        ),
        files=("other.safetensors",),
    ),
    Odd(
        name="an index under a name of config.json, beside one file",
        plant=both(beside_an_older_index, in_json("config.json", lambda s: s.update(transformers_weights=INDEX))),
        files=BOTH,
    ),
    Odd(name="rows beyond the tokenizer", plant=both(), settings={"vocab_size": 512}),
    Odd(name="no generation_config", plant=lambda f: (f / "generation_config.json").unlink(missing_ok=True)),
    Odd(
        name="other ends of an answer",
        plant=in_json("generation_config.json", lambda s: s.update(eos_token_id=[5, 7], bos_token_id=0)),
    ),
    Odd(name="chat templates by name", plant=named_templates),
    Odd(
        name="two chat templates",
        plant=both(
            in_json("tokenizer_config.json", lambda s: s.update(chat_template="old {{ messages }}")),
            content("chat_template.jinja", "{{ messages[0].content }}"),
        ),
    ),
    Odd(
        name="a tokenizer of an older transformers",
        plant=in_json("tokenizer_config.json", lambda s: s.update(tokenizer_class="TokenizersBackend")),
    ),
)
LACKS = "model.layers.1.self_attn.k_proj.weight"
REFUSED = (
    Odd(
        name="a part of a configuration",
        plant=in_json("config.json", lambda s: s.update(text_config={"hidden_size": 8})),
        refused="config.json",
    ),
    Odd(
        name="a type of integers",
        plant=in_json("config.json", lambda s: s.update(dtype="int8")),
        refused="config.json: dtype is torch.int8",
    ),
    Odd(
        name="a template in another encoding",
        plant=content("chat_template.jinja", b"\xe9"),
        refused="chat_template.jinja is damaged",
    ),
    Odd(
        name="a template that is a number",
        plant=in_json("tokenizer_config.json", lambda s: s.update(chat_template=3)),
        refused="tokenizer_config.json: chat_template is 3",
    ),
    Odd(name="shards without index", plant=both(sharded, removed(INDEX)), refused=INDEX),
    Odd(name="a shard is missing", plant=both(sharded, removed(SECOND)), refused=SECOND),
    Odd(name="a shard is cut off", plant=both(sharded, cut(SECOND, 2000)), refused=SECOND),
    Odd(name="the header is cut off", plant=cut(SINGLE, 100), refused=SINGLE),
    Odd(name="an empty file", plant=content(SINGLE, b""), refused="it is empty"),
    Odd(name="no tensors", plant=tensors(lambda stored: stored.clear()), refused="no tensors"),
    Odd(
        name="a pointer of git-lfs",
        plant=content(SINGLE, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        refused=f"{SINGLE}: .*git-lfs",
    ),
    Odd(name="a pointer among shards", plant=both(sharded, content(FIRST, "version https://git-lfs")), refused=FIRST),
    Odd(name="a broken index", plant=both(sharded, content(INDEX, "{")), refused=INDEX),
    Odd(name="an index that is a list", plant=both(sharded, content(INDEX, "[]")), refused=INDEX),
    Odd(name="an index without a map", plant=both(sharded, content(INDEX, '{"metadata": {}}')), refused=INDEX),
    Odd(name="an empty map", plant=both(sharded, content(INDEX, '{"metadata": {}, "weight_map": {}}')), refused=INDEX),
    Odd(name="no metadata", plant=both(sharded, in_json(INDEX, lambda s: s.pop("metadata"))), refused=INDEX),
    Odd(
        name="an index into another folder",
        plant=both(sharded, in_json(INDEX, lambda s: s["weight_map"].update({NORM: f"../{FIRST}"}))),
        refused=INDEX,
    ),
    Odd(
        name="one tensor in two shards",
        plant=both(sharded, in_shard(SECOND, lambda s: s.update({HEAD: torch.ones(VOCABULARY, 32)}))),
        refused=f"{SECOND}: {HEAD}: {FIRST}",
    ),
    Odd(
        name="a tensor that the index promises",
        plant=both(sharded, in_json(INDEX, lambda s: s["weight_map"].update({"model.extra": SECOND}))),
        refused=f"{SECOND}: model.extra",
    ),
    Odd(
        name="the wrong prefix", plant=prefixed("language_model."), refused=f"language_model.lm_head.weight in {SINGLE}"
    ),
    Odd(name="a tensor too many", plant=tensors(lambda s: s.update(extra=s[NORM].clone())), refused="extra"),
    Odd(
        name="a layer too many",
        plant=in_json("config.json", lambda s: s.update(num_hidden_layers=1)),
        refused="layers.1",
    ),
    Odd(name="a tensor is missing", plant=tensors(lambda s: s.pop(LACKS)), refused=f"{SINGLE} lacks .*{LACKS}"),
    Odd(name="not tied, no head", plant=tensors(lambda s: s.pop(HEAD)), refused=f"{SINGLE} lacks .*{HEAD}"),
    Odd(
        name="tied, neither",
        plant=tensors(lambda s: s.pop(EMBEDDING)),
        settings=TIED,
        refused=f"{SINGLE} lacks 2 weights, such as lm_head",
    ),
    Odd(
        name="integers without scales",
        plant=tensors(lambda s: s.update({LACKS: s[LACKS].to(torch.int8)})),
        refused=f"{SINGLE}: {LACKS} is of the type I8",
    ),
    Odd(
        name="8-bit floats without scales",
        plant=tensors(lambda s: s.update({LACKS: s[LACKS].to(torch.float8_e4m3fn)})),
        refused=f"{SINGLE}: {LACKS} is of the type F8_E4M3",
    ),
    Odd(name="another shape", plant=tensors(lambda s: s.update({LACKS: s[LACKS][:-1]})), refused=f"{SINGLE}: {LACKS}"),
    Odd(
        name="a tied head with a row less",
        plant=tensors(lambda s: s.update({HEAD: s[EMBEDDING][:-1]})),
        settings=TIED,
        refused=f"{SINGLE}: {HEAD}",
    ),
    Odd(
        name="two names of one parameter",
        plant=tensors(lambda s: s.update({"norm.weight": s[NORM] * 2})),
        refused="norm.weight and .*norm.weight are both",
    ),
    Odd(
        name="pickled weights alone",
        plant=lambda f: (f / SINGLE).rename(f / "pytorch_model.bin"),
        refused="pytorch_model.bin",
    ),
    Odd(name="another case", plant=lambda f: (f / SINGLE).rename(f / "Model.safetensors"), refused="Model.safetensors"),
    Odd(
        name="a variant",
        plant=lambda f: (f / SINGLE).rename(f / "model.fp16.safetensors"),
        refused="model.fp16.safetensors",
    ),
    Odd(name="a .gguf file alone", plant=both(removed(SINGLE), content("m.gguf", "GGUF")), refused="m.gguf"),
    Odd(name="no weights", plant=removed(SINGLE), refused=SINGLE),
    Odd(name="a link to nothing", plant=dangling, refused=SINGLE),
    Odd(name="an adapter", plant=content("adapter_config.json", "{}"), refused="adapter_config.json"),
    Odd(name="no configuration", plant=removed("config.json"), refused="config.json"),
    Odd(name="a broken configuration", plant=cut("config.json", 40), refused="config.json"),
    Odd(name="a configuration that is a list", plant=content("config.json", "[]"), refused="config.json"),
    Odd(
        name="a size in words",
        plant=in_json("config.json", lambda s: s.update(hidden_size="many")),
        refused="config.json",
    ),
    Odd(
        name="weights outside",
        plant=in_json("config.json", lambda s: s.update(transformers_weights="../other.safetensors")),
        refused="transformers_weights",
    ),
    Odd(
        name="tokens beyond the embedding",
        plant=in_json(
            "tokenizer_config.json",
            lambda s: s.update(added_tokens_decoder={"320": {"content": "<extra>", "special": True}}),
        ),
        refused="tokenizer_config.json has the token '<extra>' = ",
        settings={"vocab_size": 300},
    ),
    Odd(
        name="a tokenizer of a larger model",
        plant=both(),
        settings={"vocab_size": 256},
        refused="tokenizer.json has the token",
    ),
    Odd(
        name="no tokenizer",
        plant=both(removed("tokenizer.json"), removed("tokenizer_config.json")),
        refused="tokenizer",
    ),
    Odd(name="a tokenizer cut off", plant=cut("tokenizer.json", 300), refused="tokenizer.json is damaged"),
    Odd(name="a tokenizer that is a list", plant=content("tokenizer.json", "[]"), refused="tokenizer.json is damaged"),
    Odd(
        name="tokenizer settings cut off",
        plant=cut("tokenizer_config.json", 20),
        refused="tokenizer_config.json is damaged",
    ),
    Odd(
        name="tokenizer settings as a list",
        plant=content("tokenizer_config.json", "[]"),
        refused="tokenizer_config.json",
    ),
    Odd(
        name="special tokens cut off",
        plant=content("special_tokens_map.json", '{"a'),
        refused="special_tokens_map.json",
    ),
    Odd(
        name="a special token that is a number",
        plant=in_json("tokenizer_config.json", lambda s: s.update(eos_token=[3])),
        refused="tokenizer_config.json",
    ),
    Odd(
        name="a vocabulary that is a list",
        plant=both(removed("tokenizer.json"), content("vocab.json", "[]"), content("merges.txt", "")),
        refused="vocab.json",
    ),
    Odd(
        name="a class with rules of its own",
        plant=of_a_class_with_rules_of_its_own,
        kind="qwen3",
        refused="tokenizer.json splits",
    ),
    Odd(
        name="a template cut off",
        plant=content("chat_template.jinja", "{% for m in messages %}"),
        refused="chat_template.jinja",
    ),
    Odd(
        name="a template cut off in the settings",
        plant=in_json("tokenizer_config.json", lambda s: s.update(chat_template="{{ messages")),
        refused="tokenizer_config.json",
    ),
    Odd(
        name="generation settings cut off",
        plant=content("generation_config.json", "{"),
        refused="generation_config.json",
    ),
    Odd(
        name="generation settings as a list",
        plant=content("generation_config.json", "[]"),
        refused="generation_config.json",
    ),
    Odd(
        name="an end in words",
        plant=content("generation_config.json", '{"eos_token_id": "</s>"}'),
        refused="eos_token_id",
    ),
)
