"""The full-precision model answers in the place of the quantized one."""

from typing import Any

from quantguard.engines.transformers import generation
from quantguard.modeling import LoadedModel
from tests.support.fault_lab import Lab

AREA = "engine"
RECIPE = "gptq-w4a16"
EXPECTED = ("fidelity",)


def plant(lab: Lab) -> None:
    generate = generation.generate

    def other(loaded: LoadedModel, *args: Any, **more: Any) -> None:
        generate(loaded.full_precision or loaded, *args, **more)

    lab.patch.setattr(generation, "generate", other)
