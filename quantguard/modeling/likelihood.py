"""How likely a model holds given continuations of a text."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from quantguard.errors import MeasurementError
from quantguard.modeling.loading import LoadedModel


class Likelihood(NamedTuple):
    """The log-likelihood of a continuation, in nats, and the number of its tokens."""

    log_likelihood: float
    num_tokens: int


@torch.inference_mode()
def likelihoods(loaded: LoadedModel, context: str, continuations: Sequence[str]) -> list[Likelihood]:
    """Return the likelihood of each continuation behind ``context``, in one batch padded on the right.

    Tokens are those of the whole text; the first ones, as many as the context alone has, are the context's. Raises
    MeasurementError for a continuation without a token of its own, and where the model computes NaN.
    """
    tokenize = loaded.tokenizer
    start = len(tokenize(context, add_special_tokens=False)["input_ids"])
    rows = [tokenize(context + text, add_special_tokens=False)["input_ids"] for text in continuations]
    if start == 0 or any(len(row) <= start for row in rows):
        raise MeasurementError(f"the text {context!r} or a continuation of it has no token of its own")
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=loaded.model.device)
    # What is padded on the right has no part in what stands left of it.
    logits: torch.Tensor = loaded.model(input_ids=ids, use_cache=False).logits[:, start - 1 : -1]
    found = logits.float().log_softmax(dim=-1).gather(2, ids[:, start:, None])[:, :, 0].cpu()
    sums = [float(found[index, : len(row) - start].sum()) for index, row in enumerate(rows)]
    if any(value != value for value in sums):  # noqa: PLR0124 - NaN alone is unequal to itself
        raise MeasurementError(f"{loaded.name} computes NaN: its logits cannot be compared")
    return [Likelihood(value, len(row) - start) for value, row in zip(sums, rows, strict=True)]
