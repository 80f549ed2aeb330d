"""Rows leave the batch as they finish and others take their places; keys and values stay where they were written.

Every row has a slot of a :class:`~quantguard.modeling.slots.SlotCache`, and live rows have the first slots. All tokens
of a prompt but its last are read when the row enters; the last goes the way of the tokens that are written. What the
prompts of all rows begin with is read once and copied, and so is a prompt that a row has in common with another.
"""

from collections.abc import Callable, Sequence

import torch

from quantguard.engines.transformers.decoding import Decoding, Row
from quantguard.modeling import LoadedModel
from quantguard.modeling.slots import SlotCache, Window

# Rows enter once this share of the slots is free: a few prompts at a time are read slowly.
_REFILL_SHARE = 1 / 8
# So many tokens of prompts are read in one forward pass at most.
_PREFILL_TOKENS = 4096
# What the caches of all slots may take at full length, where the weights do not take more.
_CACHE_BYTES = 4 << 30


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
    capacity = max(len(row.prompt) for row in rows) + max_new_tokens
    num_slots = min(batch_size, len(rows), affordable_slots(loaded, capacity))
    batch = _Batch(loaded, rows, decoding, num_slots=num_slots, capacity=capacity)
    while batch.is_busy:
        batch.admit()
        for row in batch.step():
            finished(row)


def affordable_slots(loaded: LoadedModel, capacity: int) -> int:
    """Return how many slots of so many tokens take what the weights take, or 4 GiB where that is more; at least 1."""
    config, model = loaded.model.config, loaded.model
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    per_token: int = 2 * config.num_hidden_layers * config.num_key_value_heads * head_dim * model.dtype.itemsize
    weights: int = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    return max(1, max(_CACHE_BYTES, weights) // (per_token * capacity))


class _Batch:
    def __init__(
        self, loaded: LoadedModel, rows: Sequence[Row], decoding: Decoding, *, num_slots: int, capacity: int
    ) -> None:
        self._model, self._decoding, self._num_slots = loaded.model, decoding, num_slots
        # From the end: longest prompts first, equal ones behind one another.
        self._waiting = sorted(rows, key=lambda row: (len(row.prompt), row.prompt), reverse=True)[::-1]
        self._live: list[Row] = []
        # What all prompts share lies in a slot of its own behind the others.
        self._cache = SlotCache(loaded.model, num_slots=num_slots + 1, capacity=capacity)
        self._num_shared = shared_length([row.prompt for row in rows])
        if self._num_shared:
            self._read([rows[0].prompt[: self._num_shared]], slot=num_slots, start=0)

    @property
    def is_busy(self) -> bool:
        """Tell whether any answer is unfinished."""
        return bool(self._live or self._waiting)

    def admit(self) -> None:
        """Give free slots to waiting rows, where enough are free."""
        if self._live and self._num_slots - len(self._live) < self._num_slots * _REFILL_SHARE:
            return
        while self._waiting and len(self._live) < self._num_slots:
            self._enter(self._next_group())

    def _next_group(self) -> list[Row]:
        longest = len(self._waiting[-1].prompt)
        count = min(self._num_slots - len(self._live), max(1, _PREFILL_TOKENS // longest), len(self._waiting))
        return [self._waiting.pop() for _ in range(count)]

    def _enter(self, group: list[Row]) -> None:
        """Read prompts, each once, into the slots behind the live ones."""
        known = {tuple(row.prompt): slot for slot, row in enumerate(self._live)}
        fresh = {tuple(row.prompt): row for row in group if tuple(row.prompt) not in known}
        first = len(self._live)
        self._copy(self._num_slots, slice(first, first + len(fresh)), self._num_shared)
        self._read([row.prompt[self._num_shared : -1] for row in fresh.values()], slot=first, start=self._num_shared)
        self._live += fresh.values()
        known |= {prompt: first + index for index, prompt in enumerate(fresh)}
        entered = {id(row) for row in fresh.values()}
        for row in group:
            if id(row) not in entered:
                slot = len(self._live)
                self._copy(known[tuple(row.prompt)], slice(slot, slot + 1), len(row.prompt) - 1)
                self._live.append(row)

    def _copy(self, source: int, target: slice, num_tokens: int) -> None:
        if num_tokens:
            self._cache.copy(source, target, num_tokens)

    def _read(self, prompts: list[list[int]], *, slot: int, start: int) -> None:
        """Store the keys and values of prompts, a slot each, from position ``start`` on."""
        longest = max(map(len, prompts), default=0)
        step = max(1, _PREFILL_TOKENS // max(1, len(prompts)))
        # What is behind the end of a shorter prompt is overwritten before it is seen.
        ids = torch.tensor([prompt + [0] * (longest - len(prompt)) for prompt in prompts])
        for offset in range(0, longest, step):
            self._read_part(ids[:, offset : offset + step], slot=slot, start=start + offset)

    def _read_part(self, ids: torch.Tensor, *, slot: int, start: int) -> None:
        stop, device = start + ids.shape[1], self._model.device
        self._cache.window = Window(first=slot, last=slot + len(ids), positions=start, num_visible=stop)
        positions = torch.arange(start, stop, device=device)
        self._model.model(
            input_ids=ids.to(device),
            attention_mask=_mask(positions, stop, self._model.dtype)[None, None],
            position_ids=positions.expand(len(ids), -1),
            past_key_values=self._cache,
            use_cache=True,
        )

    def step(self) -> list[Row]:
        """Write one token of every live row; return the rows that end with it."""
        device, places = self._model.device, [row.position for row in self._live]
        positions, num_visible = torch.tensor(places, device=device), max(places) + 1
        self._cache.window = Window(first=0, last=len(places), positions=positions, num_visible=num_visible)
        output = self._model(
            input_ids=torch.tensor([[row.last_token] for row in self._live], device=device),
            attention_mask=_mask(positions, num_visible, self._model.dtype)[:, None, None],
            position_ids=positions[:, None],
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._decoding.extend(self._live, output.logits[:, -1])
        return [self._leave(slot) for slot in reversed(range(len(places))) if self._live[slot].finish_reason]

    def _leave(self, slot: int) -> Row:
        """Give the slot of a finished row to the last live one."""
        row, last = self._live[slot], self._live.pop()
        if last is not row:
            self._copy(len(self._live), slice(slot, slot + 1), last.position)
            self._live[slot] = last
        return row


def shared_length(prompts: Sequence[list[int]]) -> int:
    """Return how many tokens all prompts begin with, their last ones left out; 0 for a single prompt."""
    if len(prompts) == 1:
        return 0
    # In between lies every other prompt.
    first, last = min(prompts), max(prompts)
    limit = min(map(len, prompts)) - 1
    return next((index for index in range(limit) if first[index] != last[index]), limit)


def _mask(positions: torch.Tensor, num_visible: int, dtype: torch.dtype) -> torch.Tensor:
    """Return what a query at each position adds to its scores: 0 up to itself, float ``[positions, num_visible]``."""
    hidden = torch.arange(num_visible, device=positions.device) > positions[:, None]
    return torch.zeros(hidden.shape, dtype=dtype, device=positions.device).masked_fill_(hidden, -torch.inf)
