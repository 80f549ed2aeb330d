"""Hold the weights of msModelSlim's AscendV1 checkpoints against our rounding to nearest of the same model.

python tests/studies/msmodelslim.py --model tiny-reasoner CHECKPOINT ...    # the table of msmodelslim.md
python tests/studies/msmodelslim.py --folder SMALL                          # a sample: what we export ourselves

A checkpoint is read by our importer; the model is loaded in the type that its config.json names.
"""

import argparse
import pathlib

import torch

import quantguard
from quantguard.checkpoints import ascend
from quantguard.modeling import find_decoder
from quantguard.numerics import choose_scale, quantize_columns, unpack_int4
from quantguard.pipeline.exporting import export


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", type=pathlib.Path)
    parser.add_argument("--model", default="tiny-reasoner")
    parser.add_argument("--folder", type=pathlib.Path, help="where to export the sample to")
    args = parser.parse_args()
    checkpoints = args.checkpoints
    if not checkpoints:
        if args.folder is None:
            parser.error("name checkpoints, or a folder for the sample")
        sample = args.folder / "sample"
        checkpoints = [export(args.model, sample, form="ascend", recipe="w8a8", dtype="bfloat16").path]
    print("| checkpoint | integers that differ | by at most | scales differ by at most |\n|---|---|---|---|")
    for path in checkpoints:
        share, largest, scales = compare(path, args.model)
        print(f"| {path.name} | {100 * share:.2f} % | {largest} | {scales:.1e} |", flush=True)


@torch.no_grad()
def compare(path: pathlib.Path, model: str) -> tuple[float, int, float]:
    """Return the share of integers that differ, by how much at most, and the largest relative difference of a scale."""
    stored = ascend.open_checkpoint(path)
    original = find_decoder(quantguard.load(model, dtype=str(stored.dtype).removeprefix("torch.")).model)
    differing = total = largest = 0
    scales = 0.0
    for block in original.blocks:
        names = [name for name in stored.block_specs(block) if name in stored.tensors.entries]
        state, tensors = stored.decode(block, stored.tensors.read_named(names))
        for name, args in state.linears.items():
            weight = block.linears[name].weight.detach()
            theirs = tensors[f"{name}.weight_data"]
            if theirs.dtype == torch.uint8:
                theirs = unpack_int4(theirs, weight.shape[1])
            scale, _ = choose_scale(weight, args.weights)
            distance = (quantize_columns(weight, scale, None, args.weights).int() - theirs.int()).abs()
            differing, total = differing + int((distance > 0).sum()), total + distance.numel()
            largest = max(largest, int(distance.max()))
            scales = max(scales, float((tensors[f"{name}.weight_scale"] / scale - 1).abs().max()))
    return differing / total, largest, scales


if __name__ == "__main__":
    main()
