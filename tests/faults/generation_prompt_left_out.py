"""The prompt does not open the turn of the assistant."""

from _lab import Lab

from quantguard.engines import transformers
from quantguard.engines._prompting import render

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(
        transformers,
        "render",
        lambda model, text, mode: render(model, text, mode).removesuffix("<|im_start|>assistant\n"),
    )
