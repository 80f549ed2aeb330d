"""A benchmark's own prompts under the model's chat template; ``source`` names the benchmark.

They are of the items that gates come to last. A gate that runs one of them is refused, since items that a model was
calibrated on say little of others.
"""

from quantguard import benchmarks
from quantguard.benchmarks import Benchmark, held_back
from quantguard.engines._prompting import render
from quantguard.errors import RecipeError
from quantguard.modeling import LoadedModel
from quantguard.records import CalibrationArgs, Sample

RUNS_MODEL = False


def token_sequences(loaded: LoadedModel, args: CalibrationArgs) -> list[list[int]]:
    """Return ``num_samples`` prompts drawn by ``seed``, cut at ``max_length`` tokens."""
    data, samples = draw(args)
    prompts = [render(loaded, data.prompt(sample), None) for sample in samples]
    return [loaded.tokenizer(text, add_special_tokens=False)["input_ids"][: args.max_length] for text in prompts]


def items(args: CalibrationArgs) -> tuple[str, ...]:
    """Return the items that the set consists of, as ``benchmark/id``."""
    data, samples = draw(args)
    return tuple(f"{data.name}/{sample.id}" for sample in samples)


def draw(args: CalibrationArgs) -> tuple[Benchmark, tuple[Sample, ...]]:
    """Return the benchmark that ``source`` names and its samples for calibration.

    Raises RecipeError without a source, and UsageError where the benchmark has fewer items.
    """
    if args.source is None:
        raise RecipeError(f'calibration set {args.dataset} needs a benchmark: add source = "word-problems", say')
    data: Benchmark = benchmarks.members[args.source].load()
    if data.task != "generate":
        raise RecipeError(f"{args.source} puts no questions to a model: it cannot be a source of prompts")
    return data, held_back(data, args.num_samples, seed=args.seed)
