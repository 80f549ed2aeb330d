"""What a checkpoint of another tool computes, in that tool's own hands: ``expected.json``, ``expected.safetensors``."""

import argparse
import dataclasses
import importlib.metadata
import json
import pathlib
import platform
import pydoc_data.topics
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast

WINDOW, NUM_WINDOWS, NUM_LOGITS, NUM_NEW_TOKENS = 512, 5, 64, 24
# Topics of the help that Python carries.
TOPICS = ("typesmapping", "formatstrings", "class", "import", "specialnames", "typesseq", "function", "compound")
PROMPTS = (
    "The capital of France is",
    "def add(a, b):\n    return",
    "A farmer has 12 apples and buys 7 more. How many apples does the farmer have?",
)


@dataclasses.dataclass(frozen=True)
class Made:
    """One checkpoint, and how its tool runs it.

    ``model`` computes logits in float32 from a tensor of token ids; ``weights`` are what it multiplies with, by module,
    where the tool can say it.
    """

    tool: str
    scheme: str
    source: pathlib.Path
    source_dtype: str
    packages: tuple[str, ...]
    loaded_by: str
    tokenizer: Any
    model: Any
    weights: dict[str, torch.Tensor]


def tokenizer_of(folder: pathlib.Path) -> Any:
    """Return the tokenizer of ``tokenizer.json``; AutoTokenizer splits tiny-reasoner's text by Qwen2's rules."""
    return PreTrainedTokenizerFast.from_pretrained(folder)


def token_ids(tokenizer: Any, path: pathlib.Path | None) -> list[int]:
    """Return the text as token ids: those to evaluate on come first, and what is left is to calibrate on."""
    text = path.read_text(encoding="utf-8") if path else "\n\n".join(pydoc_data.topics.topics[name] for name in TOPICS)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def calibration_sequences(tokenizer: Any, args: argparse.Namespace) -> list[list[int]]:
    """Cut what follows the tokens to evaluate on into as many sequences as were asked for."""
    ids = token_ids(tokenizer, args.text)[WINDOW * NUM_WINDOWS :]
    found = [ids[start : start + args.length] for start in range(0, len(ids) - args.length + 1, args.length)]
    if len(found) < args.samples:
        raise SystemExit(f"--samples {args.samples} was asked for; the text has {len(found)} of {args.length} tokens")
    return found[: args.samples]


def arguments(doc: str | None, schemes: tuple[str, ...]) -> argparse.Namespace:
    """Read the command line that every script here has."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path, help="a folder with a float model")
    parser.add_argument("output", type=pathlib.Path, help="the folder to write, which must not exist")
    parser.add_argument("--scheme", choices=schemes, required=True)
    parser.add_argument("--group-size", type=int, default=128, help="of the schemes with groups (SmolLM2 wants 64)")
    parser.add_argument(
        "--dtype", choices=("float16", "bfloat16", "float32"), default="float16", help="of the float model"
    )
    parser.add_argument("--samples", type=int, default=16, help="calibration sequences")
    parser.add_argument("--length", type=int, default=WINDOW, help="tokens of a calibration sequence")
    parser.add_argument("--text", type=pathlib.Path, help="to evaluate and calibrate on (default: Python's own help)")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.output.exists():
        raise SystemExit(f"{args.output} exists: name a folder that does not, or remove it")
    torch.set_num_threads(args.threads)
    return args


def write(args: argparse.Namespace, quantize: Callable[[argparse.Namespace, pathlib.Path], Made]) -> None:
    """Quantize into a folder beside the one asked for, add what is expected, and move it there when it is whole."""
    output: pathlib.Path = args.output
    draft = output.with_name(f".{output.name}.draft")
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir(parents=True)
    made = quantize(args, draft)
    found, tensors = measure(made, token_ids(made.tokenizer, args.text)[: WINDOW * NUM_WINDOWS])
    (draft / "LISTING.txt").write_text("\n".join(listing(draft)) + "\n", encoding="utf-8")
    (draft / "expected.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    save_file(tensors, draft / "expected.safetensors")
    draft.rename(output)
    summary = {key: found[key] for key in ("tool", "scheme", "perplexity")}
    print(json.dumps(summary | {"generated": [prompt["generated"] for prompt in found["prompts"]]}))


@torch.no_grad()
def measure(made: Made, ids: list[int]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the figures and the tensors that the tool's own model gives."""
    windows = torch.tensor(ids, dtype=torch.int64).view(NUM_WINDOWS, WINDOW)
    logits = [made.model(window[None]).logits[0].float() for window in windows]
    losses = [
        torch.nn.functional.cross_entropy(row[:-1], window[1:], reduction="sum").item()
        for row, window in zip(logits, windows, strict=True)
    ]
    # A run over the first tokens alone: a static activation scale or a cache must not see what follows.
    first = made.model(windows[:1, :NUM_LOGITS]).logits[0].float()
    found = {
        "tool": made.tool,
        "scheme": made.scheme,
        "loaded_by": made.loaded_by,
        "source": made.source.name,
        "source_dtype": made.source_dtype,
        "computed_in": "float32",
        "versions": {name: importlib.metadata.version(name) for name in made.packages}
        | {"torch": torch.__version__, "python": platform.python_version()},
        "window": WINDOW,
        "num_scored": NUM_WINDOWS * (WINDOW - 1),
        "perplexity": float(torch.tensor(sum(losses) / (NUM_WINDOWS * (WINDOW - 1)), dtype=torch.float64).exp()),
        "window_losses": [loss / (WINDOW - 1) for loss in losses],
        "token_ids": ids,
        "prompts": [continued(made, prompt_ids) for prompt_ids in prompts(made.tokenizer)],
    }
    tensors = {"token_ids": windows.contiguous(), "logits": first.contiguous()}
    return found, tensors | {f"weights.{name}": weight.float().contiguous() for name, weight in made.weights.items()}


def prompts(tokenizer: Any) -> Iterator[list[int]]:
    """Yield the token ids of each prompt: two as they stand, and a question in the model's chat template."""
    *plain, question = PROMPTS
    for prompt in plain:
        yield tokenizer(prompt, add_special_tokens=False)["input_ids"]
    message = [{"role": "user", "content": question}]
    rendered = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    yield tokenizer(rendered, add_special_tokens=False)["input_ids"]


def continued(made: Made, prompt_ids: list[int]) -> dict[str, Any]:
    """Continue a prompt with the likeliest token each time, without a cache and whatever the token is."""
    ids = list(prompt_ids)
    margins = []
    for _ in range(NUM_NEW_TOKENS):
        best = made.model(torch.tensor([ids])).logits[0, -1].float().topk(2)
        margins.append(float(best.values[0] - best.values[1]))
        ids.append(int(best.indices[0]))
    new = ids[len(prompt_ids) :]
    return {
        "prompt": made.tokenizer.decode(prompt_ids),
        "prompt_ids": prompt_ids,
        "generated_ids": new,
        "generated": made.tokenizer.decode(new),
        # How far the second best was: where it is near 0, another order of sums may choose otherwise.
        "smallest_margin": min(margins),
    }


def listing(folder: pathlib.Path) -> Iterator[str]:
    """Yield each file with its size, each safetensors file with its metadata and tensors, and the configurations."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield f"{path.relative_to(folder)}  {path.stat().st_size} bytes  mode {path.stat().st_mode & 0o777:o}"
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            yield f"\n{path.name}: metadata {file.metadata()}"
            for name in sorted(file.keys()):
                tensor = file.get_slice(name)
                yield f"{name}  {tensor.get_dtype()}  {tensor.get_shape()}"
    for path in sorted(folder.glob("*.json")):
        if path.name not in {"tokenizer.json", "vocab.json"}:
            yield f"\n{path.name}:\n{path.read_text(encoding='utf-8')}"
