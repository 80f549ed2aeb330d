"""Generation in this process with transformers: rows share a batch, leave as they finish and make room for others.

Decoding is greedy or sampled. A sampled token is drawn by one uniform number from a generator that belongs to its
(seed, sample, epoch), so neither the batch size nor the company in the batch has a part in it. What is left is
floating point: the same row can differ in the last bit between batch sizes.
"""

from collections.abc import Callable, Sequence

import torch

from quantguard.engines import _continuous, _padded
from quantguard.engines._decoding import Decoding, Row
from quantguard.engines._following import Following, Led
from quantguard.engines._prompting import Request, token_ids
from quantguard.errors import MeasurementError
from quantguard.modeling import LoadedModel
from quantguard.modeling.slots import takes_slots
from quantguard.records import Generation, GenerationConfig

VERSION = "transformers/2"
_LOOPS = {"continuous": _continuous, "padded": _padded}


def generate(
    loaded: LoadedModel,
    requests: Sequence[Request],
    config: GenerationConfig,
    *,
    batch_size: int,
    finished: Callable[[Generation], None],
    following: Following | None = None,
) -> None:
    """Answer every request and hand each generation to ``finished`` once, in whatever order they end.

    At most ``batch_size`` are answered at once; fewer where their caches would take too much memory (see
    :func:`~quantguard.engines._continuous.affordable_slots`). With ``following`` the prompts and the tokens that are
    written are the given ones, by sample, and what the model says to them is kept there. Raises MeasurementError where
    prompt and limit together exceed the model's context, or logits hold NaN.
    """
    if following is None:
        decoding = Decoding(loaded, config)
        rows = [decoding.row(request, _encode(loaded, request, config)) for request in requests]
    else:
        decoding = Led(loaded, config, following)
        rows = [decoding.row(request, following.lines[request.sample_id].prompt) for request in requests]
    if not rows:
        return

    def hand_over(row: Row) -> None:
        finished(decoding.generation(row))

    way = _LOOPS[generation_loop(loaded)]
    with torch.inference_mode():
        way.run(
            loaded,
            rows,
            decoding,
            batch_size=batch_size,
            max_new_tokens=config.max_new_tokens,
            finished=hand_over,
        )


def generation_loop(loaded: LoadedModel) -> str:
    """Return the loop that answers: ``continuous``, or ``padded`` for a model whose attention cannot read slots."""
    return "continuous" if takes_slots(loaded.model) else "padded"


def _encode(loaded: LoadedModel, request: Request, config: GenerationConfig) -> list[int]:
    ids = token_ids(loaded, request.text, config.mode)
    longest = loaded.model.config.max_position_embeddings
    if len(ids) + config.max_new_tokens > longest:
        raise MeasurementError(
            f"sample {request.sample_id}: a prompt of {len(ids)} tokens and max_new_tokens {config.max_new_tokens}"
            f" exceed the context of {loaded.name}, {longest} tokens"
        )
    return ids
