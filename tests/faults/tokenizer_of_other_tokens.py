"""The tokenizer makes other tokens of a text, with the same files and chat template."""

from typing import Any

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_folder

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy", "reasoning", "layerwise")


def plant(lab: Lab) -> None:
    def change(_model: Any, tokenizer: Any) -> Any:
        def lower(self: Any, text: Any, **more: Any) -> Any:
            return usual.__call__(self, [t.lower() for t in text] if isinstance(text, list) else text.lower(), **more)

        usual = type(tokenizer)
        tokenizer.__class__ = type(usual.__name__, (usual,), {"__call__": lower})
        return tokenizer

    spoil_folder(lab, change)
