"""The fingerprint of a run: what a baseline must share with it, and what is only recorded."""

import sys
from importlib import metadata
from types import ModuleType

import torch

from quantguard import registry
from quantguard.benchmarks import Benchmark
from quantguard.engines._subject import Subject
from quantguard.records import GenerationConfig, to_json
from quantguard.records.codec import digest


def must_match(subject: Subject, benchmark: Benchmark, config: GenerationConfig, *, batch_size: int) -> dict[str, str]:
    """Return what makes two runs comparable. The sampling seed is not part of it: seeds are the noise."""
    scorer = registry.scorers[benchmark.scorer] if benchmark.scorer else None
    return subject.identity(batch_size=batch_size) | {
        "data": benchmark.sha256,
        "decoding": digest({key: value for key, value in to_json(config).items() if key != "seed"}),
        "scorer": _version(scorer),
    }


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


def _version(scorer: ModuleType | None) -> str:
    """Return a scorer's version, with what else its scores depend on, such as how programs are isolated."""
    if scorer is None:
        return "none"
    return f"{scorer.VERSION} {scorer.variant()}" if hasattr(scorer, "variant") else str(scorer.VERSION)
