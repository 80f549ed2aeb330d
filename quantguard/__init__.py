"""quantguard: post-training quantization of reasoning models, and the judgement of whether they are still good.

    quantguard.load("tiny-reasoner")
    quantguard.quantize(model, recipe="smoothquant-w8a8", backend="auto")
    quantguard.quantize_to_folder("path/of/a/model", "gptq-w4a16", "path/to/write")
    quantguard.evaluate(model, benchmark="word-problems", subset=300, seed=0)
    quantguard.judge(candidate_record, baseline_record, tol=0.045)

``quantguard.accuracy``, ``fidelity``, ``latency``, ``layerwise``, ``memory`` and ``reasoning`` are pytest markers, see
``pytest_quantguard``. Nothing heavy is imported before it is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from quantguard.pipeline import evaluate, load, quantize, quantize_to_folder
    from quantguard.verdict import judge

    accuracy: Callable[..., pytest.MarkDecorator]
    fidelity: Callable[..., pytest.MarkDecorator]
    latency: Callable[..., pytest.MarkDecorator]
    layerwise: Callable[..., pytest.MarkDecorator]
    memory: Callable[..., pytest.MarkDecorator]
    reasoning: Callable[..., pytest.MarkDecorator]

__all__ = ["evaluate", "judge", "load", "quantize", "quantize_to_folder"]

_HOMES = {
    "evaluate": "quantguard.pipeline",
    "judge": "quantguard.verdict",
    "load": "quantguard.pipeline",
    "quantize": "quantguard.pipeline",
    "quantize_to_folder": "quantguard.pipeline",
}


def __getattr__(name: str) -> Any:
    """Import a public function when it is first asked for; every kind of gate is a marker."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if not name.startswith("_"):
        registry = importlib.import_module("quantguard.registry")
        if name in registry.discover("gates"):
            return importlib.import_module("pytest_quantguard.markers").gate_marker(name)
    raise AttributeError(f"module 'quantguard' has no attribute {name!r}")
