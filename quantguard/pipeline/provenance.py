"""The fingerprint of a run: what a baseline must share with it, and what is only recorded."""

import platform as host
import sys
from importlib import metadata
from types import ModuleType

import torch

from quantguard import registry
from quantguard.benchmarks import Benchmark
from quantguard.host import ascend
from quantguard.modeling import LoadedModel
from quantguard.records import GenerationConfig, to_json
from quantguard.records.codec import digest

ENGINE = "transformers"


def platform_of(loaded: LoadedModel) -> str:
    """Return the platform that a run is compared on: of an NPU its family, else the type of the device."""
    return ascend.this_host().platform() if loaded.device_type == "npu" else loaded.device_type


def must_match(
    loaded: LoadedModel, benchmark: Benchmark, config: GenerationConfig, *, batch_size: int
) -> dict[str, str]:
    """Return what makes two runs comparable.

    Batch size and threads belong here only below float32: in float32 they do not change answers beyond the rare last
    bit, which the paired judgement takes as the noise that it is. The sampling seed does not: seeds are the noise.
    """
    engine, scorer = registry.engines[ENGINE], registry.scorers[benchmark.scorer] if benchmark.scorer else None
    facts = {
        "weights": loaded.weights_sha256,
        "recipe": loaded.recipe.fingerprint if loaded.recipe else "full-precision",
        "calibration": loaded.calibration_sha256 or "none",
        "data": benchmark.sha256,
        "prompt": digest([loaded.tokenizer.chat_template, loaded.tokenizer.backend_tokenizer.to_str()]),
        "decoding": digest({key: value for key, value in to_json(config).items() if key != "seed"}),
        "engine": engine.VERSION,
        "scorer": _version(scorer),
        "dtype": loaded.dtype,
    }
    if loaded.dtype != "float32":
        facts |= {"batch_size": str(batch_size), "threads": str(torch.get_num_threads())}
    return facts


def recorded(loaded: LoadedModel, config: GenerationConfig, *, batch_size: int) -> dict[str, str]:
    """Return what a reader may want to know of a run, and nothing is compared by.

    The machine's NPU model, driver, CANN and torch_npu are among it where there are any.
    """
    return {
        "batch_size": str(batch_size),
        "cpu": host.processor() or host.machine(),
        "device": loaded.device_type,
        "seed": str(config.seed),
        "threads": str(torch.get_num_threads()),
        **versions(),
        **ascend.this_host().facts(),
    }


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
