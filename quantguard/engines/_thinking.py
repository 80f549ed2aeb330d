"""Thinking modes: what each family of chat templates is told for slow, automatic and no thinking.

A family is told by its template. tiny-reasoner's takes ``think_mode`` and Qwen3's ``enable_thinking``. Turns of
openPangu-Embedded begin with ``[unused9]``; the question ends in ``/no_think`` or ``/auto_think``. A template that
opens ``<think>`` by itself, as DeepSeek-R1's, always thinks.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

MODES = ("slow_think", "auto_think", "no_think")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How a template is asked for a mode: options handed to it, and what follows the question."""

    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    suffix: str = ""


_FAMILIES: dict[str, Mapping[str, Asking]] = {
    "think_mode": {mode: Asking(options={"think_mode": mode}) for mode in MODES},
    "enable_thinking": {
        "slow_think": Asking(options={"enable_thinking": True}),
        "no_think": Asking(options={"enable_thinking": False}),
    },
    "[unused9]": {
        "slow_think": Asking(),
        "auto_think": Asking(suffix=" /auto_think"),
        "no_think": Asking(suffix=" /no_think"),
    },
    "<think>": {"slow_think": Asking()},
}


def modes_of(template: str | None) -> Mapping[str, Asking]:
    """Return the modes that a chat template has, and how each is asked for; none where it has no thinking."""
    return next((modes for mark, modes in _FAMILIES.items() if template and mark in template), {})
