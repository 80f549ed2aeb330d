"""Generation in this process with transformers: batches of like length, rows leave as they finish.

Decoding is greedy or sampled. A sampled token is drawn by one uniform number from a generator that belongs to its
(seed, sample, epoch), so neither the batch size nor the company in the batch has a part in it. What is left is
floating point: the same row can differ in the last bit between batch sizes.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch

from quantguard.engines._prompting import Request, render
from quantguard.errors import MeasurementError
from quantguard.modeling import LoadedModel
from quantguard.modeling.attention import new_cache
from quantguard.records import Generation, GenerationConfig

VERSION = "transformers/1"
# Finished rows are dropped once this share of the batch is idle: each drop copies the cache of all others.
_IDLE_SHARE = 0.25


def generate(
    loaded: LoadedModel,
    requests: Sequence[Request],
    config: GenerationConfig,
    *,
    batch_size: int,
    finished: Callable[[Generation], None],
) -> None:
    """Answer every request and hand each generation to ``finished`` once, in whatever order they end.

    Raises MeasurementError where prompt
    and limit together exceed the model's context, or logits hold NaN.
    """
    encoded = [_encode(loaded, request, config) for request in requests]
    by_length = sorted(range(len(requests)), key=lambda index: -len(encoded[index]))
    with torch.inference_mode():
        for start in range(0, len(by_length), batch_size):
            chosen = by_length[start : start + batch_size]
            batch = _Batch(loaded, [requests[i] for i in chosen], [encoded[i] for i in chosen], config)
            while batch.rows:
                for row in batch.step():
                    finished(batch.generation(row))


def _encode(loaded: LoadedModel, request: Request, config: GenerationConfig) -> list[int]:
    prompt = render(loaded, request.text, config.mode)
    ids: list[int] = loaded.tokenizer(prompt, add_special_tokens=False)["input_ids"]
    longest = loaded.model.config.max_position_embeddings
    if len(ids) + config.max_new_tokens > longest:
        raise MeasurementError(
            f"sample {request.sample_id}: a prompt of {len(ids)} tokens and max_new_tokens {config.max_new_tokens}"
            f" exceed the context of {loaded.name}, {longest} tokens"
        )
    return ids


class _Batch:
    """The state of one batch: its cache, its live rows and what each has written."""

    def __init__(
        self, loaded: LoadedModel, requests: list[Request], encoded: list[list[int]], config: GenerationConfig
    ) -> None:
        self._loaded, self._requests, self._config = loaded, requests, config
        self._written: list[list[int]] = [[] for _ in requests]
        self._stopped = [False] * len(requests)
        self._generators = [_generator(request, config) for request in requests]
        self._stop_ids = _stop_ids(loaded)
        self._cache = new_cache(loaded.model)
        self._input, self._mask = _left_pad(encoded, loaded.tokenizer.pad_token_id or 0)
        self.rows = list(range(len(requests)))

    def step(self) -> list[int]:
        """Generate one token for every live row; return the rows that finished with it."""
        device = self._loaded.model.device
        positions = (self._mask.cumsum(dim=1) - 1).clamp_min(0)[:, -self._input.shape[1] :]
        logits = self._loaded.model(
            input_ids=self._input.to(device),
            attention_mask=self._mask.to(device),
            position_ids=positions.to(device),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        logits = logits.float().cpu()
        if logits.isnan().any():
            raise MeasurementError(f"{self._loaded.name} computes NaN: its logits cannot be decoded")
        tokens = self._choose(logits)
        before = [row for row in self.rows if self._is_live(row)]
        for row, token in zip(self.rows, tokens.tolist(), strict=True):
            self._record(row, token)
        self._input = tokens[:, None]
        self._mask = torch.nn.functional.pad(self._mask, (0, 1), value=1)
        self._compact([index for index, row in enumerate(self.rows) if self._is_live(row)])
        return [row for row in before if not self._is_live(row)]

    def generation(self, row: int) -> Generation:
        """Return what a finished row has written."""
        request, written = self._requests[row], self._written[row]
        return Generation(
            sample_id=request.sample_id,
            epoch=request.epoch,
            text=self._loaded.tokenizer.decode(written, skip_special_tokens=True),
            num_tokens=len(written),
            finish_reason="stop" if self._stopped[row] else "length",
        )

    def _is_live(self, row: int) -> bool:
        return not self._stopped[row] and len(self._written[row]) < self._config.max_new_tokens

    def _record(self, row: int, token: int) -> None:
        if self._is_live(row):
            self._written[row].append(token)
            self._stopped[row] = token in self._stop_ids

    def _compact(self, live: list[int]) -> None:
        if live and len(live) > len(self.rows) * (1 - _IDLE_SHARE):
            return
        self.rows = [self.rows[index] for index in live]
        if live:
            keep = torch.tensor(live)
            self._cache.batch_select_indices(keep.to(self._loaded.model.device))
            self._input, self._mask = self._input[keep], self._mask[keep]

    def _choose(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the next token of each row, int64 ``[rows]``, from float32 logits ``[rows, vocabulary]``."""
        if self._config.temperature == 0:
            return logits.argmax(dim=-1)
        draws = torch.stack([torch.rand(1, generator=self._generators[row]) for row in self.rows])
        return _sample(logits / self._config.temperature, self._config.top_p, draws)


def _sample(logits: torch.Tensor, top_p: float, draws: torch.Tensor) -> torch.Tensor:
    """Invert the distribution of the smallest set of tokens that holds ``top_p``, at ``draws`` ``[rows, 1]``."""
    probabilities, order = logits.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    cumulative = probabilities.cumsum(dim=-1)
    kept = probabilities * (cumulative - probabilities < top_p)
    reached = kept.cumsum(dim=-1)
    chosen = (reached <= draws * reached[:, -1:]).sum(dim=-1, keepdim=True)
    return order.gather(1, chosen.clamp_max(logits.shape[1] - 1))[:, 0]


def _generator(request: Request, config: GenerationConfig) -> torch.Generator:
    key = f"{config.seed}:{request.epoch}:{request.sample_id}".encode()
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(key).digest()[:8]))


def _stop_ids(loaded: LoadedModel) -> set[int]:
    declared: Any = loaded.model.generation_config.eos_token_id
    listed = declared if isinstance(declared, list) else [declared]
    return {token for token in (*listed, loaded.tokenizer.eos_token_id) if token is not None}


def _left_pad(encoded: list[list[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return input ids and attention mask, int64 ``[rows, longest]``."""
    longest = max(map(len, encoded))
    ids = [[pad] * (longest - len(row)) + row for row in encoded]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in encoded]
    return torch.tensor(ids), torch.tensor(mask)
