"""The tokenizer has lost its chat template."""

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_tokenizer

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy", "layerwise")


def plant(lab: Lab) -> None:
    spoil_tokenizer(lab, lambda tokenizer: setattr(tokenizer, "chat_template", None))
