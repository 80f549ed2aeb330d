"""What every layer puts out: on a text that is read at once, and token by token as answers are written."""

import functools
import itertools

from quantguard import registry
from quantguard.errors import UsageError
from quantguard.measures import Models
from quantguard.measures._decode_steps import FAR, FEW, SINGLE, batches, written
from quantguard.modeling import LoadedModel, tracing
from quantguard.modeling.swapping import kernels_in_use
from quantguard.modeling.tracing import Trace
from quantguard.records import LayerError, LayerSketch
from quantguard.records.codec import digest

_READ_TOKENS = 128
_NUM_LINES = 3
# As far as the answers of most benchmarks come; a text of that length is read in a moment.
_REACH = 4096
_WORDS = {SINGLE: "1 row", FEW: f"{_NUM_LINES} rows", FAR: "1 row at position {reach}"}


def measure(models: Models) -> "Layers":
    """Return what tells of the candidate's layers; nothing is run before it is asked."""
    return Layers(models)


class Layers:
    """The layers of a candidate, on a text that is the same at every run."""

    def __init__(self, models: Models) -> None:
        self._models = models

    @functools.cached_property
    def text(self) -> list[int]:
        """The tokens that the layers are traced on."""
        return traced_text(self._models.candidate)

    @property
    def text_sha256(self) -> str:
        """The hash of the text."""
        return digest(self.text)

    def sketches(self) -> tuple[LayerSketch, ...]:
        """Return a sketch of what every layer puts out."""
        return tracing.sketches(trace(self._models.candidate, self.text))

    def errors(self, backend: str) -> tuple[LayerError, ...]:
        """Return how far the layers are from the same weights' on another kernel backend.

        Raises UsageError for full precision, which has no kernels to choose, and for the candidate's own kernels.
        """
        candidate = self._models.candidate
        if candidate.recipe is None:
            raise UsageError(f"{candidate.name} is not quantized: it has no kernels to compare with {backend!r}")
        assert self._models.on_backend is not None
        other = self._models.on_backend(backend)
        if kernels_in_use(other.model) == kernels_in_use(candidate.model):
            raise UsageError(
                f"{candidate.name} runs on the kernels of {backend!r} itself, so there is nothing to compare: check it"
                " with another backend, guard.check(…, backend='cpu') or 'reference', or leave the gate's backend out"
            )
        return tracing.errors_between(trace(candidate, self.text), trace(other, self.text))


def traced_text(loaded: LoadedModel) -> list[int]:
    """Return the tokens that layers are traced on: the start of the model's calibration text."""
    args = loaded.calibration
    sequences: list[list[int]] = registry.calibration[args.dataset].token_sequences(loaded, args)
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
