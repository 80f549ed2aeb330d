"""What is known of a run before it begins: its fingerprint, and what is only recorded."""

import sys
from collections.abc import Sequence
from importlib import metadata

import torch

from quantguard import benchmarks, scorers
from quantguard.benchmarks import NOTHING, Benchmark, continuations
from quantguard.engines._prompting import render, summary_of_tokens
from quantguard.engines._subject import Subject
from quantguard.records import Fingerprint, GenerationConfig, Question, RunRecord, Score, to_json
from quantguard.records.codec import digest


def fingerprint(subject: Subject, benchmark: Benchmark, config: GenerationConfig, *, batch_size: int) -> Fingerprint:
    """Return what makes two runs comparable.

    ``tokens`` are those of all prompts of the benchmark, whichever items run: a smaller subset shares them with a
    larger one.
    """
    question = Question(
        data=benchmark.sha256,
        tokens=_tokens(subject, benchmark, config.mode),
        decoding=digest({key: value for key, value in to_json(config).items() if key != "seed"}),
        scorer=_version(benchmark.scorer) if benchmark.scorer else None,
    )
    return subject.fingerprint(question, batch_size=batch_size)


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


def record_without_answers(
    subject: Subject,
    benchmark: Benchmark,
    metrics: dict[str, float],
    *,
    scores: Sequence[Score] = (),
    known: Fingerprint | None = None,
) -> RunRecord:
    """Return the record of what was measured on a benchmark's text, where nothing is generated.

    ``known`` is the fingerprint, where it has been worked out.
    """
    return RunRecord(
        model=subject.name,
        recipe=subject.recipe,
        benchmark=benchmark.name,
        platform=subject.platform,
        generation_config=None,
        scores=tuple(scores),
        kernels=subject.kernels(),
        fingerprint=known or fingerprint(subject, benchmark, NOTHING, batch_size=1),
        recorded=recorded(subject, NOTHING, batch_size=1),
        metrics=metrics,
        notes=subject.notes,
    )


def versions() -> dict[str, str]:
    """Return the versions of what a result comes from."""
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "quantguard": metadata.version("quantguard"),
        "torch": str(torch.__version__),
        "transformers": metadata.version("transformers"),
    }


def _version(scorer: str) -> str:
    """Return a scorer's version, with what else its scores depend on, such as how programs are isolated."""
    version, dependent = scorers.members[scorer].VERSION, scorers.members.able(scorer, scorers.Dependent)
    return version if dependent is None else f"{version} {dependent.variant()}"
