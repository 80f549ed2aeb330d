"""Which model is under test."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model under test by the names that results and baselines go by."""

    model: str
    """What the model is called."""
    recipe: str
    """The recipe's name, ``full-precision``, or ``as-served`` where quantization is a server's business."""
    platform: str
    """What runs are compared on: the family of an NPU, else the type of the device, or ``endpoint``."""
    reference: str | None = None
    """What the full-precision model is called, where one was named."""
    notes: tuple[str, ...] = ()
    """What a reader should know of how it was made."""
