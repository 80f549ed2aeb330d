"""Quantize a checkpoint that is larger than the memory it takes, kill the run at a random layer, go on, and compare.

python tests/studies/streaming.py --folder BIG     # the table of streaming.md: 3 billion parameters, 6 GB in BIG
python tests/studies/streaming.py --folder SMALL --hidden-size 64 --layers 4 --vocabulary 4096   # a sample

The checkpoint is a Qwen2 of random bfloat16 weights, written shard by shard. It is quantized twice by GPTQ to 4 bits,
in groups of 128: once in one go, and once by a process that is killed and started again.
"""

import argparse
import filecmp
import json
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import safetensors.torch
import torch
import transformers

import quantguard
from quantguard.modeling.streaming import skeleton

RECIPE = """name = "gptq-w4a16"
rounding = "gptq"

[weights]
num_bits = 4
strategy = "group"
group_size = 128

[calibration]
dataset = "worked-problems"
num_samples = 16
max_length = 128
precision = "bfloat16"
"""


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--hidden-size", type=int, default=2560)
    parser.add_argument("--layers", type=int, default=36)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    model, recipe = args.folder / "model", args.folder / "recipe.toml"
    recipe.write_text(RECIPE)
    num_weights, num_bytes = write_checkpoint(model, args.hidden_size, args.layers, args.vocabulary)
    print(f"torch {torch.__version__}, {num_weights / 1e9:.2f} billion weights, {num_bytes / 2**30:.2f} GiB on disk\n")
    print("| run | layers done | seconds | peak resident GiB |\n|---|---|---|---|", flush=True)
    whole, resumed = args.folder / "whole", args.folder / "resumed"
    for folder in (whole, resumed):
        shutil.rmtree(folder, ignore_errors=True)
    print(row("in one go", whole, *quantize(model, recipe, whole, None)), flush=True)
    kill_after = random.Random(args.seed).randrange(1, args.layers)
    print(row("killed", resumed, *quantize(model, recipe, resumed, kill_after)), flush=True)
    print(row("resumed", resumed, *quantize(model, recipe, resumed, None)), flush=True)
    names = sorted(file.name for file in whole.iterdir())
    _, differ, missing = filecmp.cmpfiles(whole, resumed, names, shallow=False)
    if differ or missing or sorted(file.name for file in resumed.iterdir()) != names:
        raise SystemExit(f"files that differ: {differ + missing}")
    print(f"\nAll {len(names)} files of the two folders are identical.")


def write_checkpoint(folder: pathlib.Path, hidden_size: int, num_layers: int, vocabulary: int) -> tuple[int, int]:
    """Write a Qwen2 of random weights, a layer a shard, unless it is there; return its weights and bytes."""
    heads = max(1, hidden_size // 128)
    config = transformers.Qwen2Config(
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 10),
        intermediate_size=hidden_size * 16 // 5,
        vocab_size=vocabulary,
        tie_word_embeddings=True,
        dtype="bfloat16",
        architectures=["Qwen2ForCausalLM"],
    )
    shapes = {name: tensor.shape for name, tensor in skeleton(config, torch.bfloat16).named_parameters()}
    if not (folder / "model.safetensors.index.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        quantguard.load("tiny-reasoner").tokenizer.save_pretrained(folder)
        config.save_pretrained(folder)
        weight_map = {}
        generator = torch.Generator().manual_seed(0)
        for name, shape in shapes.items():
            spread = torch.empty(shape, dtype=torch.bfloat16).normal_(0, 0.02, generator=generator)
            file = f"{name.replace('.', '-')}.safetensors"
            tensor = torch.ones_like(spread) if name.endswith("norm.weight") else spread
            safetensors.torch.save_file({name: tensor}, folder / file)
            weight_map[name] = file
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return sum(shape.numel() for shape in shapes.values()), sum(f.stat().st_size for f in folder.glob("*.safetensors"))


def quantize(
    model: pathlib.Path, recipe: pathlib.Path, output: pathlib.Path, kill_after: int | None
) -> tuple[float, float]:
    """Run the command in a process of its own; return its seconds and peak memory in GiB."""
    code = "import sys; from quantguard.cli.__main__ import main; sys.argv[0] = 'quantguard'; sys.exit(main())"
    command = [sys.executable, "-c", code, "quantize", str(model), "--recipe", str(recipe), "--output", str(output)]
    started, peak = time.monotonic(), 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, high_water_mark(process.pid))
            time.sleep(0.02)
            if kill_after is not None and finished_layers(output) >= kill_after:
                process.send_signal(signal.SIGKILL)
                process.wait()
    expected = 0 if kill_after is None else -signal.SIGKILL
    if process.returncode != expected:
        raise SystemExit(f"the process ended with {process.returncode}; {expected} was expected")
    return time.monotonic() - started, peak / 2**20


def high_water_mark(pid: int) -> int:
    """Return the largest resident size of a process so far, in KiB; 0 once it has ended."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def finished_layers(folder: pathlib.Path) -> int:
    """Count the layers that are written."""
    return len(list(folder.glob("quantguard-*.safetensors")))


def row(label: str, folder: pathlib.Path, seconds: float, peak: float) -> str:
    """Return a row of the table."""
    return f"| {label} | {finished_layers(folder)} | {seconds:.0f} | {peak:.2f} |"


if __name__ == "__main__":
    main()
