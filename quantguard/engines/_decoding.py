"""One answer being written: its state, the choice of its next token, and when it ends."""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import torch

from quantguard.engines._prompting import Request
from quantguard.errors import MeasurementError
from quantguard.modeling import LoadedModel
from quantguard.records import Generation, GenerationConfig


@dataclasses.dataclass(slots=True, kw_only=True)
class Row:
    """A request, the tokens of its prompt and those written so far; ``generator`` draws for it alone."""

    request: Request
    prompt: list[int]
    generator: torch.Generator
    written: list[int] = dataclasses.field(default_factory=list)
    finish_reason: Literal["stop", "length"] | None = None

    @property
    def last_token(self) -> int:
        """The token that the model reads next."""
        return self.written[-1] if self.written else self.prompt[-1]

    @property
    def position(self) -> int:
        """Where that token stands."""
        return len(self.prompt) + len(self.written) - 1


class Decoding:
    """Choosing tokens by the logits of a model, as a config asks."""

    def __init__(self, loaded: LoadedModel, config: GenerationConfig) -> None:
        self._loaded, self._config = loaded, config
        self._stop_ids = stop_ids(loaded.model.generation_config, loaded.tokenizer)

    def row(self, request: Request, prompt: list[int]) -> Row:
        """Begin an answer."""
        key = f"{self._config.seed}:{request.epoch}:{request.sample_id}".encode()
        seed = int.from_bytes(hashlib.sha256(key).digest()[:8])
        return Row(request=request, prompt=prompt, generator=torch.Generator().manual_seed(seed))

    def extend(self, rows: Sequence[Row], logits: torch.Tensor) -> None:
        """Add to each row its next token, by float logits ``[rows, vocabulary]``; raise MeasurementError for NaN."""
        tokens = self._likeliest(logits)
        if self._config.temperature > 0:
            draws = torch.stack([torch.rand(1, generator=row.generator) for row in rows])
            tokens = sample(logits.float().cpu() / self._config.temperature, self._config.top_p, draws)
        for row, token in zip(rows, tokens.tolist(), strict=True):
            row.written.append(token)
            if token in self._stop_ids:
                row.finish_reason = "stop"
            elif len(row.written) == self._config.max_new_tokens:
                row.finish_reason = "length"

    def _likeliest(self, logits: torch.Tensor) -> torch.Tensor:
        """Return int64 ``[rows]``; raise MeasurementError for NaN."""
        # The largest value of a row that holds NaN is NaN.
        largest, tokens = logits.max(dim=-1)
        if largest.isnan().any():
            raise MeasurementError(f"{self._loaded.name} computes NaN: its logits cannot be decoded")
        return tokens

    def generation(self, row: Row) -> Generation:
        """Return what a finished row has written."""
        assert row.finish_reason is not None
        return Generation(
            sample_id=row.request.sample_id,
            epoch=row.request.epoch,
            text=self._loaded.tokenizer.decode(row.written, skip_special_tokens=True),
            num_tokens=len(row.written),
            finish_reason=row.finish_reason,
        )


def sample(logits: torch.Tensor, top_p: float, draws: torch.Tensor) -> torch.Tensor:
    """Invert the distribution of the smallest set of tokens that holds ``top_p``, at ``draws`` ``[rows, 1]``."""
    probabilities, order = logits.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    cumulative = probabilities.cumsum(dim=-1)
    kept = probabilities * (cumulative - probabilities < top_p)
    reached = kept.cumsum(dim=-1)
    chosen = (reached <= draws * reached[:, -1:]).sum(dim=-1, keepdim=True)
    return order.gather(1, chosen.clamp_max(logits.shape[1] - 1))[:, 0]


def stop_ids(generation_config: Any, tokenizer: Any) -> set[int]:
    """Return the tokens that end an answer: those of the generation config, and the tokenizer's own."""
    declared = generation_config.eos_token_id
    listed = declared if isinstance(declared, list) else [declared]
    return {token for token in (*listed, tokenizer.eos_token_id) if token is not None}
