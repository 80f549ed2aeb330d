"""Teacher forcing: the engine goes its usual way, and the tokens that are written are given ones.

So the logits of decode steps, through the cache and in the batches that answers are generated in, can be laid beside
those of the same text read at once.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import torch

from quantguard.engines.transformers.decoding import Decoding, Row
from quantguard.modeling import LoadedModel
from quantguard.records import GenerationConfig


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The tokens of a prompt, at least one, and those that are written behind it, at least one."""

    prompt: list[int]
    written: list[int]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What is written for every sample, and the logits ``[vocabulary]`` that the model had for each token of it."""

    lines: Mapping[str, Line]
    logits: dict[str, list[torch.Tensor]] = dataclasses.field(default_factory=dict)


class Led(Decoding):
    """Writes the given tokens, whatever the logits say."""

    def __init__(self, loaded: LoadedModel, config: GenerationConfig, following: Following) -> None:
        super().__init__(loaded, config)
        self._following = following

    def extend(self, rows: Sequence[Row], logits: torch.Tensor) -> None:
        """Add to each row its next given token and keep what was said, float logits ``[rows, vocabulary]``."""
        self._likeliest(logits)
        for row, said in zip(rows, logits, strict=True):
            name = row.request.sample_id
            given = self._following.lines[name].written
            self._following.logits.setdefault(name, []).append(said.float())
            row.written.append(given[len(row.written)])
            if len(row.written) == len(given):
                row.finish_reason = "length"
