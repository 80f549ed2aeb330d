"""How faithfully a quantized model predicts plain English: perplexity, KL, top-1 agreement, flips.

The text is ``pydoc_data.topics``, the language reference that comes with every Python, so that it needs no download.
It differs a little between Python versions, and so does ``Benchmark.sha256``.
"""

from collections.abc import Sequence
from typing import Any

from quantguard.benchmarks._benchmark import Benchmark
from quantguard.errors import DataError
from quantguard.records import Sample

# The passage for evaluation ends here, in characters; calibration starts well behind it.
EVALUATION_END = 40_000
CALIBRATION_START = 60_000
WINDOW = 512
NUM_WINDOWS = 4


def load() -> Benchmark:
    """Return the evaluation text as one sample; :func:`token_sequences` cuts it to windows of tokens."""
    return Benchmark(
        name="text-fidelity",
        description="perplexity, KL, top-1 agreement and flips against full precision on Python's own documentation",
        licence="PSF-2.0",
        task="fidelity",
        samples=(Sample(id="topics", input=_text()[:EVALUATION_END]),),
        default_subset=1,
    )


def token_sequences(tokenizer: Any, samples: Sequence[Sample]) -> list[list[int]]:
    """Return the last 4 windows of 512 tokens of the evaluation text."""
    ids: list[int] = tokenizer(samples[0].input, add_special_tokens=False)["input_ids"][-NUM_WINDOWS * WINDOW :]
    if len(ids) < NUM_WINDOWS * WINDOW:
        raise DataError(f"the evaluation text has {len(ids)} tokens; {NUM_WINDOWS * WINDOW} are needed")
    return [ids[start : start + WINDOW] for start in range(0, len(ids), WINDOW)]


def calibration_text() -> str:
    """Return the text for calibration, none of which is evaluated on."""
    return _text()[CALIBRATION_START:]


def _text() -> str:
    from pydoc_data import topics  # noqa: PLC0415 - half a megabyte, and only this benchmark reads it

    return " ".join(topics.topics.values())
