"""What quantguard writes, loaded by plain transformers with compressed-tensors and without quantguard.

python tests/studies/round_trip.py                                # the table of round_trip.md, about ten minutes
python tests/studies/round_trip.py --recipes w8a8 --items 2       # a sample

Every shipped recipe on tiny-reasoner. A linear's output is compared on the input that transformers gave it, in units
of bfloat16's last place of the larger of the two, or of a thousandth of the largest output where that is more: values
near zero are sums of large ones, in float32 and in another order. transformers scales dynamic activations by
max / 127.5, quantguard and serving kernels by max / 127: such a linear is
compared on our weights with their activations.
"""

import argparse
import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile

import safetensors.torch
import torch
from _plain_transformers import greedy

import quantguard
from quantguard import benchmarks, recipes
from quantguard.checkpoints import native
from quantguard.engines._prompting import render
from quantguard.modeling import LoadedModel, QuantLinear
from quantguard.modeling.block_state import BlockState
from quantguard.numerics import QuantTensor, dequantize, unpack_int4
from quantguard.records import CalibrationArgs, QuantArgs, Recipe

HERE = pathlib.Path(__file__).parent
FEW = CalibrationArgs(dataset="worked-problems", num_samples=16, max_length=128)
STATIC = Recipe(
    name="w8a8 with static scales",
    weights=QuantArgs(num_bits=8, strategy="channel"),
    input_activations=QuantArgs(num_bits=8, strategy="tensor"),
)
# Learned transforms take minutes and are beyond the format whatever they learn.
LEARNED = ("flatquant", "spinquant", "ostquant")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="*", help="names of recipes (default: all but those that learn, and static)")
    parser.add_argument("--items", type=int, default=50, help="greedy texts to compare (default: 50)")
    options = parser.parse_args()
    named = options.recipes or [name for name in recipes.names() if not name.startswith(LEARNED)]
    chosen = [dataclasses.replace(recipes.load_recipe(name), calibration=FEW) for name in named]
    chosen += [] if options.recipes else [dataclasses.replace(STATIC, calibration=FEW)]
    print("| recipe | loads without quantguard | farthest linear, ulp of bfloat16 | equal texts | logits, relative |")
    print("|---|---|---|---|---|")
    for recipe in chosen:
        print(row(recipe, options.items), flush=True)


def row(recipe: Recipe, num_items: int) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        folder = quantguard.quantize_to_folder("tiny-reasoner", recipe, pathlib.Path(scratch) / "model").path
        beyond = json.loads((folder / native.MANIFEST).read_text())["beyond"]
        prompts = prompts_for(quantguard.load(folder), num_items)
        (folder.parent / "prompts.json").write_text(json.dumps(prompts))
        output = folder.parent / "output.safetensors"
        asymmetric = recipe.input_activations is None and not recipe.weights.symmetric
        how = "decompress" if asymmetric and not beyond else "load"
        command = [sys.executable, HERE / "_plain_transformers.py", folder, folder.parent / "prompts.json", output, how]
        finished = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        if beyond:
            assert finished.returncode != 0, "it loaded what it cannot express"
            error = finished.stderr.strip().splitlines()[-1].partition(":")[0]
            return f"| `{recipe.name}` | no, {error}: {'; '.join(beyond)} | | | |"
        assert finished.returncode == 0, finished.stderr
        theirs = safetensors.torch.load_file(output)
        ours = quantguard.load(folder)
        return (
            f"| `{recipe.name}` | yes | {farthest(folder, ours, theirs):.2f} | {same_answers(ours, theirs, prompts)} |"
        )


def prompts_for(model: LoadedModel, count: int) -> list[list[int]]:
    samples = benchmarks.members["word-problems"].load().samples[:count]
    encode = model.tokenizer.encode
    return [encode(render(model, sample.input, None), add_special_tokens=False) for sample in samples]


def farthest(folder: pathlib.Path, ours: LoadedModel, theirs: dict[str, torch.Tensor]) -> float:
    """Return the largest difference of a linear's output, in units of bfloat16's last place."""
    stored = native.OwnFolder(folder)
    worst = 0.0
    for block in stored.decoder.blocks:
        state, tensors = stored.block(block)
        for name in state.linears:
            expected = theirs[f"{name}.output"]
            linear = ours.model.get_submodule(name)
            found = _apply(linear, dequantized(name, state, tensors, linear), theirs[f"{name}.input"])
            size = torch.maximum(expected.abs(), found.abs()).clamp_min(1e-3 * float(expected.abs().max()))
            ulp = torch.exp2(size.log2().floor() - 7)
            worst = max(worst, float(((expected - found).abs() / ulp).max()))
    return worst


def _apply(linear: QuantLinear, weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Run a linear of ours; with dynamic activations its weight on those that transformers makes of its input."""
    inputs = linear.input_activations
    if inputs is None or not inputs.dynamic:
        return linear(x)  # type: ignore[no-any-return]
    half = (2**inputs.num_bits - 1) / 2
    scale = x.abs().amax(dim=-1, keepdim=True) / half
    rounded = torch.round(x / scale).clamp(inputs.minimum, inputs.maximum) * scale
    return torch.nn.functional.linear(rounded, weight, linear.bias)


def dequantized(name: str, state: BlockState, tensors: dict[str, torch.Tensor], linear: QuantLinear) -> torch.Tensor:
    args = state.linears[name].weights
    data = tensors[f"{name}.weight_data"]
    quantized = QuantTensor(
        data=unpack_int4(data, linear.in_features) if args.num_bits <= 4 else data,
        scale=tensors[f"{name}.weight_scale"],
        zero_point=tensors.get(f"{name}.weight_zero_point"),
        args=args,
    )
    weight: torch.Tensor = dequantize(quantized)
    return weight


def same_answers(ours: LoadedModel, theirs: dict[str, torch.Tensor], prompts: list[list[int]]) -> str:
    """Say how many greedy texts are equal, and how far logits are."""
    with torch.inference_mode():
        logits = ours.model(torch.tensor([prompts[0]])).logits
        texts = greedy(ours.model, prompts)
    equal = sum(theirs[f"text.{index}"].tolist() == text for index, text in enumerate(texts))
    error = float((logits - theirs["logits"]).abs().max() / logits.abs().max())
    return f"{equal} of {len(texts)} | {error:.1e}"


if __name__ == "__main__":
    main()
