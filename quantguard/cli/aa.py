"""Run a model against itself (A/A), over the items of its baseline, and keep how many of them flip.

The rate is stored beside the baseline, in a file that ends with ``.noise``. Gates report that no more flips than this
is noise, plans expect it, and a gate that it makes undecidable is refused before it runs.
"""

import argparse
import os
import pathlib
import sys

from quantguard.baselines import Noise, baseline_path, noise_path, read, write_noise
from quantguard.benchmarks._data_files import VARIABLE
from quantguard.records import GenerationConfig

HELP = "run a model against itself, and keep how many items flip"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, its recipe and what is run."""
    parser.add_argument("model", help="short name, Hugging Face id, folder or .gguf file")
    parser.add_argument("--recipe", help="name of a recipe or path of a .toml file (default: full precision)")
    parser.add_argument("--benchmark", default="word-problems", help="name of the baseline (default: word-problems)")
    parser.add_argument(
        "--baselines", type=pathlib.Path, default="baselines", metavar="DIR", help="(default: baselines)"
    )
    parser.add_argument("--data", type=pathlib.Path, metavar="DIR", help="folder of benchmark files")
    parser.add_argument("--device", default="cpu", help="device, such as cpu or npu:0 (default: cpu)")
    parser.add_argument("--backend", default="auto", help="kernel backend (default: auto)")
    parser.add_argument("--mode", help="thinking mode, such as no_think (default: the chat template's)")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy (default)")
    parser.add_argument("--top-p", type=float, default=1.0, help="nucleus of sampling (default: 1)")
    parser.add_argument("--epochs", type=int, default=1, help="answers to each item, for temperatures above 0")
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help="limit of an answer (default: the benchmark's)")


def run(args: argparse.Namespace) -> int:
    """Run twice, write the noise and print it."""
    if args.data is not None:
        os.environ[VARIABLE] = str(args.data)
    path, noise = _measure(args)
    write_noise(noise_path(path), noise)
    print(f"{noise.num_flips} of {noise.num_items} items flip between two runs ({noise.varied}): {noise.flip_rate:.1%}")
    print(f"written: {noise_path(path)}")
    return 0


def _measure(args: argparse.Namespace) -> tuple[pathlib.Path, Noise]:
    import quantguard  # noqa: PLC0415 - the facade, whose functions import torch
    from quantguard import registry  # noqa: PLC0415
    from quantguard.pipeline.in_process import InProcess  # noqa: PLC0415
    from quantguard.pipeline.noise import measure_noise  # noqa: PLC0415
    from quantguard.pipeline.progress import bar  # noqa: PLC0415

    model = quantguard.load(args.model, device=args.device)
    if args.recipe is not None:
        model = quantguard.quantize(model, recipe=args.recipe, backend=args.backend)
    subject = InProcess(model)
    recipe = "full-precision" if subject.recipe is None else subject.recipe.name
    path = baseline_path(
        args.baselines, platform=subject.platform, model=subject.name, recipe=recipe, benchmark=args.benchmark
    )
    baseline = read(path)
    data = registry.benchmarks[args.benchmark.partition("@")[0]].load()
    config = GenerationConfig(
        max_new_tokens=data.max_new_tokens if args.max_new_tokens is None else args.max_new_tokens,
        temperature=args.temperature,
        top_p=args.top_p,
        epochs=args.epochs,
        mode=args.mode,
    )
    return path, measure_noise(subject, baseline, data, config, progress=bar(sys.stderr))
