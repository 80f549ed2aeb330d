"""What a model says token by token, through the cache and in the batches of generation, and read at once.

Both are the same function of the same text. What lies between them is the rounding of other batch shapes; anything more
is the cache, its positions, or a kernel that only single tokens meet.
"""

import dataclasses
from collections.abc import Sequence

import torch

from quantguard import registry
from quantguard.engines._following import Following, Line
from quantguard.engines._prompting import Request
from quantguard.errors import MeasurementError
from quantguard.modeling import LoadedModel
from quantguard.modeling.comparing import logits_behind
from quantguard.records import GenerationConfig

# What generates in this process.
ENGINE = "transformers"

# Tokens that are written to the end of a text, and texts that share a batch.
NUM_STEPS = 16
NUM_ROWS = 8
SINGLE, FEW, FAR = "1_row", "few_rows", "far_position"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Texts that are written side by side; ``name`` says how."""

    name: str
    lines: tuple[Line, ...]


def batches(sequences: Sequence[Sequence[int]], starts: Sequence[int], *, reach: int) -> tuple[Batch, ...]:
    """Return one text alone, a few side by side and of different lengths, and one that ends at position ``reach``.

    The ends of ``sequences`` are written, none of the first ``starts`` tokens of each; sequences without more are left
    out. Raises MeasurementError where none is left.
    """
    rooms = [(list(tokens), len(tokens) - start) for tokens, start in zip(sequences, starts, strict=True)]
    lines = [
        _line(tokens, min(room, NUM_STEPS - index % NUM_ROWS)) for index, (tokens, room) in enumerate(rooms) if room > 0
    ][:NUM_ROWS]
    if not lines:
        raise MeasurementError("there is no text to decode")
    text = [token for tokens, _ in rooms for token in tokens]
    far = (text * (reach // len(text) + 1))[:reach]
    alone = Batch(name=SINGLE, lines=(lines[0],))
    return alone, Batch(name=FEW, lines=tuple(lines)), Batch(name=FAR, lines=(_line(far, min(NUM_STEPS, reach - 1)),))


def _line(tokens: Sequence[int], num_written: int) -> Line:
    return Line(prompt=list(tokens[:-num_written]), written=list(tokens[-num_written:]))


def written(loaded: LoadedModel, batch: Batch) -> torch.Tensor:
    """Write the lines of a batch through the engine; return its logits for them, float32 ``[tokens, vocabulary]``.

    Raises MeasurementError where the engine does not write all of them.
    """
    following = Following(lines={str(index): line for index, line in enumerate(batch.lines)})
    registry.engines[ENGINE].generate(
        loaded,
        [Request(sample_id=name, epoch=0, text="") for name in following.lines],
        GenerationConfig(max_new_tokens=max(len(line.written) for line in batch.lines)),
        batch_size=len(batch.lines),
        finished=lambda _generation: None,
        following=following,
    )
    for name, line in following.lines.items():
        if len(following.logits.get(name, ())) != len(line.written):
            raise MeasurementError(
                f"{loaded.name} was led through {len(line.written)} tokens ({batch.name.replace('_', ' ')}), and the"
                f" engine {ENGINE} wrote {len(following.logits.get(name, ()))} of them"
            )
    return torch.stack([said for name in following.lines for said in following.logits[name]])


def read(loaded: LoadedModel, batch: Batch) -> torch.Tensor:
    """Read the same lines, each at once; return the same logits."""
    parts = [logits_behind(loaded, line.prompt + line.written, len(line.written)) for line in batch.lines]
    return torch.cat(parts)


def distances(found: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """Return how far logits are from others, token by token, as a share of those, float64 ``[tokens]``."""
    difference, whole = (torch.linalg.vector_norm(x.double(), dim=1) for x in (found - expected, expected))
    shares: torch.Tensor = difference / whole
    return shares


def compare_ways(candidate: LoadedModel, reference: LoadedModel, texts: Sequence[Batch]) -> dict[str, float]:
    """Compare both ways of both models, as shares of the logits: medians over tokens, and the worst batch's mean.

    ``decode_gap`` is the candidate's writing from its own reading, ``decode_gap_<batch>`` the mean of a batch of it;
    ``reading_gap`` is the candidate's reading from full precision's, ``reading_gap_<batch>`` the mean of a batch; and
    ``reference_decode_gap`` full precision's writing from its own reading, the mean of the batch where it is largest.
    """
    metrics: dict[str, float] = {}
    own, apart, floor = [], [], []
    for batch in texts:
        expected, found = read(reference, batch), read(candidate, batch)
        gap, distance = distances(written(candidate, batch), found), distances(found, expected)
        floor.append(float(distances(written(reference, batch), expected).mean()))
        metrics |= {f"decode_gap_{batch.name}": float(gap.mean()), f"reading_gap_{batch.name}": float(distance.mean())}
        own.append(gap)
        apart.append(distance)
    metrics |= {"decode_gap": _median(own), "reading_gap": _median(apart), "reference_decode_gap": max(floor)}
    if any(value != value for value in metrics.values()):  # noqa: PLR0124 - NaN alone is unequal to itself
        raise MeasurementError(f"{candidate.name} computes NaN or infinity while it writes")
    return metrics


def _median(parts: Sequence[torch.Tensor]) -> float:
    return float(torch.cat(list(parts)).median())
