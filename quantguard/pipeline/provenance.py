"""The fingerprint of a run: what a baseline must share with it, and what is only recorded."""

import sys
from importlib import metadata

import torch

from quantguard import benchmarks, scorers
from quantguard.benchmarks import Benchmark, continuations
from quantguard.engines._prompting import render, summary_of_tokens
from quantguard.engines._subject import Subject
from quantguard.records import GenerationConfig, to_json
from quantguard.records.codec import digest


def must_match(subject: Subject, benchmark: Benchmark, config: GenerationConfig, *, batch_size: int) -> dict[str, str]:
    """Return what makes two runs comparable. The sampling seed is not part of it: seeds are the noise.

    ``tokens`` are those of all prompts of the benchmark, whichever items run: a smaller subset shares them with a
    larger one. What a record that is replayed says of its own is left as it is.
    """
    identity = subject.identity(batch_size=batch_size)
    tokens = {} if "tokens" in identity else {"tokens": _tokens(subject, benchmark, config.mode)}
    return (
        identity
        | tokens
        | {
            "data": benchmark.sha256,
            "decoding": digest({key: value for key, value in to_json(config).items() if key != "seed"}),
            "scorer": _version(benchmark.scorer),
        }
    )


def _tokens(subject: Subject, benchmark: Benchmark, mode: str | None) -> str:
    """Return a line on every token id that the model is sent, or say that a server makes them."""
    if subject.tokenizer is None:
        return "the server's"
    if benchmark.task == "fidelity":
        text = benchmarks.members.require(benchmark.name, benchmarks.Text)
        return summary_of_tokens(text.token_sequences(subject.tokenizer, benchmark.samples))
    if benchmark.task == "choice":
        prompts = [f"{sample.input}{end}" for sample in benchmark.samples for end in ("", *continuations(sample))]
    else:
        prompts = [render(subject, benchmark.prompt(sample), mode) for sample in benchmark.samples]
    return summary_of_tokens(subject.tokenizer(prompts, add_special_tokens=False, verbose=False)["input_ids"])


def recorded(subject: Subject, config: GenerationConfig, *, batch_size: int) -> dict[str, str]:
    """Return what a reader may want to know of a run, and nothing is compared by."""
    return {"batch_size": str(batch_size), "seed": str(config.seed), **versions(), **subject.circumstances()}


def versions() -> dict[str, str]:
    """Return the versions of what a result comes from."""
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "quantguard": metadata.version("quantguard"),
        "torch": str(torch.__version__),
        "transformers": metadata.version("transformers"),
    }


def _version(scorer: str | None) -> str:
    """Return a scorer's version, with what else its scores depend on, such as how programs are isolated."""
    if scorer is None:
        return "none"
    version, dependent = scorers.members[scorer].VERSION, scorers.members.able(scorer, scorers.Dependent)
    return version if dependent is None else f"{version} {dependent.variant()}"
