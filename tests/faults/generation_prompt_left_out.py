"""The prompt does not open the turn of the assistant."""

from typing import Any

from quantguard.engines._prompting import render
from quantguard.engines.transformers import generation
from tests.support.fault_lab import Lab

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    def unopened(model: Any, text: str, mode: str | None) -> Any:
        prompt = render(model, text, mode).removesuffix("<|im_start|>assistant\n")
        return model.tokenizer(prompt, add_special_tokens=False)["input_ids"]

    lab.patch.setattr(generation, "token_ids", unopened)
