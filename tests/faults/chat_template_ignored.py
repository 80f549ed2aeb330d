"""The chat template is there and is not applied."""

from quantguard.engines.transformers import generation
from tests.support.fault_lab import Lab

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(
        generation,
        "token_ids",
        lambda model, text, _mode: model.tokenizer(text, add_special_tokens=False)["input_ids"],
    )
