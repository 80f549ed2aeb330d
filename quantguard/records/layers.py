"""What is kept of a layer's output, and how far one is from another."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LayerSketch:
    """A count sketch of a layer's output: its numbers, with random signs, added up in a few buckets.

    ``op`` is the kernel that ran, absent for a float layer or a whole block. The distance of two sketches estimates the
    distance of the outputs without bias (Charikar, Chen and Farach-Colton, Finding frequent items in data streams).
    """

    name: str
    op: str | None
    buckets: tuple[float, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LayerError:
    """``||found - expected|| / ||expected||`` of a layer's output."""

    name: str
    op: str | None
    relative_error: float
