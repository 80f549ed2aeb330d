"""What weights take: the candidate's in memory, and the full-precision model's in its files."""

from typing import NamedTuple

from quantguard.measures import Models
from quantguard.modeling.swapping import weight_bytes


class Bytes(NamedTuple):
    """The bytes of the weights of both models, embeddings included."""

    candidate: int
    """The candidate's in memory."""
    stored: int
    """Full precision's in its files."""


def measure(models: Models) -> Bytes:
    """Weigh the candidate in memory and the files of full precision."""
    return Bytes(weight_bytes(models.candidate.model), models.reference.stored_bytes)
