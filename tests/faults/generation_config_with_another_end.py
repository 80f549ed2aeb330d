"""generation_config.json has one more token that ends an answer."""

from typing import Any

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_folder

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy", "reasoning")


def plant(lab: Lab) -> None:
    def change(model: Any, tokenizer: Any) -> Any:
        [point] = tokenizer(".", add_special_tokens=False)["input_ids"]
        model.generation_config.eos_token_id = [model.generation_config.eos_token_id, point]
        return tokenizer

    spoil_folder(lab, change)
