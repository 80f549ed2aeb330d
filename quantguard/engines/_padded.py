"""Batches padded on the left to one length, with transformers' own cache: right for any decoder, and slow.

A batch runs until all of its rows are done; rows that are, leave it when they are many.
"""

from collections.abc import Callable, Sequence

import torch

from quantguard.engines._decoding import Decoding, Row
from quantguard.modeling import LoadedModel
from quantguard.modeling.integer_cache import new_cache

# Finished rows are dropped once this share of the batch is idle: each drop copies the cache of all others.
_IDLE_SHARE = 0.25


def run(
    loaded: LoadedModel,
    rows: Sequence[Row],
    decoding: Decoding,
    *,
    batch_size: int,
    max_new_tokens: int,
    finished: Callable[[Row], None],
) -> None:
    """Write all answers, longest prompts first, and hand each row to ``finished`` as it ends."""
    del max_new_tokens
    by_length = sorted(rows, key=lambda row: -len(row.prompt))
    for start in range(0, len(by_length), batch_size):
        _Batch(loaded, by_length[start : start + batch_size], decoding).run(finished)


class _Batch:
    def __init__(self, loaded: LoadedModel, rows: list[Row], decoding: Decoding) -> None:
        self._loaded, self._decoding, self._rows = loaded, decoding, rows
        self._cache = new_cache(loaded.model)
        self._input, self._mask = _left_pad([row.prompt for row in rows], loaded.tokenizer.pad_token_id or 0)

    def run(self, finished: Callable[[Row], None]) -> None:
        while self._rows:
            live = [index for index, row in enumerate(self._rows) if row.finish_reason is None]
            logits = self._forward()[live]
            written = [self._rows[index] for index in live]
            self._decoding.extend(written, logits)
            self._input = torch.tensor([[row.last_token] for row in self._rows])
            self._mask = torch.nn.functional.pad(self._mask, (0, 1), value=1)
            for row in written:
                if row.finish_reason is not None:
                    finished(row)
            self._compact()

    def _forward(self) -> torch.Tensor:
        """Return the logits behind the last token of each row, float ``[rows, vocabulary]``."""
        device = self._loaded.model.device
        positions = (self._mask.cumsum(dim=1) - 1).clamp_min(0)[:, -self._input.shape[1] :]
        output = self._loaded.model(
            input_ids=self._input.to(device),
            attention_mask=self._mask.to(device),
            position_ids=positions.to(device),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def _compact(self) -> None:
        live = [index for index, row in enumerate(self._rows) if row.finish_reason is None]
        if live and len(live) > len(self._rows) * (1 - _IDLE_SHARE):
            return
        self._rows = [self._rows[index] for index in live]
        if live:
            keep = torch.tensor(live)
            self._cache.batch_select_indices(keep.to(self._loaded.model.device))
            self._input, self._mask = self._input[keep], self._mask[keep]


def _left_pad(encoded: list[list[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return input ids and attention mask, int64 ``[rows, longest]``."""
    longest = max(map(len, encoded))
    ids = [[pad] * (longest - len(row)) + row for row in encoded]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in encoded]
    return torch.tensor(ids), torch.tensor(mask)
