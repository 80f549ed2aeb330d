"""What every layer puts out: on a text that is read at once, and token by token as answers are written."""

import itertools

from quantguard import calibration
from quantguard.modeling import LoadedModel, tracing
from quantguard.modeling.tracing import Trace
from quantguard.pipeline.decode_steps import FAR, FEW, SINGLE, batches, written

_READ_TOKENS = 128
_NUM_LINES = 3
# As far as the answers of most benchmarks come; a text of that length is read in a moment.
_REACH = 4096
_WORDS = {SINGLE: "1 row", FEW: f"{_NUM_LINES} rows", FAR: "1 row at position {reach}"}


def traced_text(loaded: LoadedModel) -> list[int]:
    """Return the tokens that layers are traced on: the start of the model's calibration text."""
    args = loaded.calibration
    sequences = calibration.members[args.dataset].token_sequences(loaded, args)
    return list(itertools.islice(itertools.chain.from_iterable(sequences), _READ_TOKENS))


def trace(loaded: LoadedModel, text: list[int]) -> Trace:
    """Read the text, and write its end alone, in a few rows of different lengths, and at a far position."""
    found = tracing.outputs(loaded, text)
    reach = min(_REACH, int(loaded.model.config.max_position_embeddings))
    # A third of the text apart, so that rows are at different places and end one after the other.
    third = max(1, len(text) // _NUM_LINES)
    lines = [text[: len(text) - index * third] for index in range(_NUM_LINES)]
    for batch in batches(lines, [1] * len(lines), reach=reach):
        where = _WORDS[batch.name].format(reach=reach)
        # Far on in a text attention averages over much: what is left behind it is little, and mostly rounding.
        with tracing.watching(loaded, found, single_tokens=f", decode of {where}", linears=batch.name != FAR):
            written(loaded, batch)
    return found
