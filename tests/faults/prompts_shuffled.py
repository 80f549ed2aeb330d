"""Prompts of a batch are put to the model under each other's names."""

import dataclasses
import random
from typing import Any

from quantguard.engines._prompting import Request
from quantguard.engines.transformers import generation
from quantguard.modeling import LoadedModel
from tests.support.fault_lab import Lab

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    generate = generation.generate

    def shuffled(loaded: LoadedModel, requests: list[Request], *args: Any, **more: Any) -> None:
        texts = random.Random(0).sample([request.text for request in requests], len(requests))
        mixed = [dataclasses.replace(request, text=text) for request, text in zip(requests, texts, strict=True)]
        generate(loaded, mixed, *args, **more)

    lab.patch.setattr(generation, "generate", shuffled)
