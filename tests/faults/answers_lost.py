"""The engine loses the last answer of every call."""

from typing import Any

from quantguard.engines._prompting import Request
from quantguard.engines.transformers import generation
from quantguard.modeling import LoadedModel
from tests.support.fault_lab import Lab

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy", "fidelity")


def plant(lab: Lab) -> None:
    generate = generation.generate

    def lossy(loaded: LoadedModel, requests: list[Request], *args: Any, **more: Any) -> None:
        generate(loaded, requests[:-1], *args, **more)

    lab.patch.setattr(generation, "generate", lossy)
