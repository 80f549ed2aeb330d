"""Run a model, quantized by a recipe or not, on a benchmark and print what came out."""

import argparse
import os
import pathlib
import sys
from typing import TYPE_CHECKING

from quantguard.benchmarks._data_files import VARIABLE
from quantguard.cli._output import require_record, write
from quantguard.errors import UsageError
from quantguard.records import RunRecord
from quantguard.records.record_file import dump_record
from quantguard.sandbox.probe import VARIABLE as UNSAFE_VARIABLE

if TYPE_CHECKING:
    from quantguard.engines._subject import Subject
    from quantguard.modeling import LoadedModel

HELP = "run a model on a benchmark"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, the recipe, the benchmark and how to run them."""
    parser.add_argument("model", help="short name, Hugging Face id, folder or .gguf file")
    parser.add_argument("--recipe", help="name of a recipe or path of a .toml file (default: full precision)")
    parser.add_argument(
        "--reference",
        metavar="MODEL",
        help="what a checkpoint of another tool was made from, which text-fidelity needs",
    )
    parser.add_argument("--benchmark", default="word-problems", help="name of a benchmark (default: word-problems)")
    parser.add_argument(
        "--data", type=pathlib.Path, metavar="DIR", help="folder of benchmark files (default: QUANTGUARD_DATA)"
    )
    parser.add_argument(
        "--unsafe-exec",
        action="store_true",
        help="run programs that the model writes without a sandbox, where they can read and change whatever you can",
    )
    parser.add_argument("--backend", default="auto", help="kernel backend (default: auto)")
    parser.add_argument("--dtype", help="floating-point type of the model, such as bfloat16")
    parser.add_argument("--device", default="cpu", help="device, such as cpu or npu:0 (default: cpu)")
    parser.add_argument("--subset", type=int, metavar="N", help="number of items (default: the benchmark's)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the subset and of sampling (default: 0)")
    parser.add_argument("--mode", help="thinking mode, such as no_think (default: the chat template's)")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy (default)")
    parser.add_argument("--epochs", type=int, default=1, help="answers to each item, for temperatures above 0")
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help="limit of an answer (default: the benchmark's)")
    parser.add_argument("--batch-size", type=int, metavar="N", help="items at once (default: the engine's)")
    parser.add_argument("--fresh", action="store_true", help="do not go on with a run that was broken off")
    _add_service(parser)
    parser.add_argument(
        "--output", type=pathlib.Path, metavar="FILE", help="write the record as JSON, in the place of an older one"
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate, print the metrics and write the record where asked."""
    if args.output is not None:
        require_record("--output", args.output)
    if args.data is not None:
        os.environ[VARIABLE] = str(args.data)
    if args.unsafe_exec:
        os.environ[UNSAFE_VARIABLE] = "1"
    import quantguard  # noqa: PLC0415 - the facade, whose functions import torch
    from quantguard.pipeline import GenerationStore  # noqa: PLC0415
    from quantguard.pipeline.progress import bar  # noqa: PLC0415

    # The record does not need answers that are kept.
    store = GenerationStore(fresh=args.fresh, told=lambda text: print(f"quantguard evaluate: {text}", file=sys.stderr))
    try:
        record = quantguard.evaluate(
            _open(args),
            args.benchmark,
            subset=args.subset,
            seed=args.seed,
            mode=args.mode,
            temperature=args.temperature,
            epochs=args.epochs,
            max_new_tokens=args.max_new_tokens,
            batch_size=args.batch_size,
            progress=bar(sys.stderr),
            store=store,
        )
    except KeyboardInterrupt:
        print(f"{store.num_kept()} answers are kept; the same command goes on with them within a day", file=sys.stderr)
        raise
    if args.output is not None:
        # The reader of what is printed may go away, and the record must not go with it.
        require_record("--output", args.output)
        write("--output", args.output, dump_record(record), kept="The answers are kept: give the command again")
    store.settle()
    print("\n".join(summary(record)))
    return 0


def _add_service(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a model that another program runs as it is")
    group.add_argument("--endpoint", metavar="URL", help="OpenAI-compatible server, such as http://localhost:8000/v1")
    group.add_argument("--engine", help="see quantguard list engines (default: openai with --endpoint)")
    group.add_argument("--tokenizer", metavar="MODEL", help="whose chat template says how --mode is asked for")


def _open(args: argparse.Namespace) -> "LoadedModel | Subject":
    """Load and quantize the model, or find it where it is served."""
    import quantguard  # noqa: PLC0415
    from quantguard.pipeline import Service  # noqa: PLC0415
    from quantguard.pipeline.opening import made_from  # noqa: PLC0415

    engine = args.engine or ("openai" if args.endpoint else None)
    if engine is None:
        if args.tokenizer is not None:
            raise UsageError("--tokenizer goes with --endpoint or --engine; this process loads the model's own")
        model = quantguard.load(args.model, dtype=args.dtype, device=args.device, backend=args.backend)
        if args.reference is not None:
            model = made_from(model, args.reference)
        return model if args.recipe is None else quantguard.quantize(model, recipe=args.recipe, backend=args.backend)
    if (args.recipe, args.reference, args.dtype, args.device, args.backend) != (None, None, None, "cpu", "auto"):
        raise UsageError(
            f"{args.model} is run as it is by the engine {engine}: leave out --recipe, --reference, --dtype, --device"
            " and --backend"
        )
    return Service(engine=engine, url=args.endpoint, tokenizer=args.tokenizer).connect(args.model)


def summary(record: RunRecord) -> list[str]:
    """Return the record's lines for a terminal."""
    num_items = f"{len(record.scores)} answers" if record.scores else "text"
    lines = [f"{record.model}, {record.recipe_name}, on {record.benchmark} ({num_items}, {record.platform})"]
    lines += [f"  {name:<21} {value:.4f}" for name, value in record.metrics.items()]
    lines += [f"  {op:<21} {backend}" for op, backend in record.kernels.items()]
    return lines + [f"  note: {note}" for note in record.notes]
