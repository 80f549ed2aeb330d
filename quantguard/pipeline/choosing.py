"""Multiple choice: the model is not asked to write, the likeliest of the given answers is taken for its own."""

import contextlib
import statistics
from collections.abc import Sequence

from quantguard.benchmarks import Benchmark, continuations
from quantguard.calibration._items import require_unseen
from quantguard.engines._subject import Subject
from quantguard.errors import UsageError
from quantguard.gates import Display
from quantguard.modeling import LoadedModel
from quantguard.modeling.likelihood import likelihoods
from quantguard.pipeline import provenance
from quantguard.pipeline.display import displaying
from quantguard.pipeline.progress import Progress, silent
from quantguard.records import Fingerprint, RunRecord, Sample, Score


def run(
    subject: Subject,
    data: Benchmark,
    samples: Sequence[Sample],
    *,
    progress: Progress = silent,
    display: Display | None = None,
    fingerprint: Fingerprint | None = None,
) -> RunRecord:
    """Choose for every sample and record; raises UsageError for a model whose logits are not at hand.

    ``display`` shows the choices where one is open already; absent, ``progress`` opens one. ``fingerprint`` is given
    where it has been worked out.
    """
    loaded = subject.loaded
    if loaded is None:
        raise UsageError(f"{data.name} reads logits, so it takes a model of this process, not {subject.name}")
    require_unseen(loaded, data, samples)
    scores, by_length = [], []
    opened = displaying(progress, f"{subject.name} on {data.name}", len(samples))
    with opened if display is None else contextlib.nullcontext(display) as seen:
        for sample in samples:
            score, right = _choose(loaded, sample)
            scores.append(score)
            by_length.append(right)
            seen.scored(score)
            seen.answered(1)
    metrics = {
        "accuracy": statistics.fmean(score.value or 0.0 for score in scores),
        "accuracy_by_length": statistics.fmean(by_length),
    }
    return provenance.record_without_answers(subject, data, metrics, scores=scores, known=fingerprint)


def _choose(loaded: LoadedModel, sample: Sample) -> tuple[Score, bool]:
    """Return the score of the likeliest choice, and whether the likeliest per byte is right."""
    choices: list[str] = sample.metadata["choices"]
    found = likelihoods(loaded, sample.input, continuations(sample))
    best = max(range(len(choices)), key=lambda index: found[index].log_likelihood)
    per_byte = max(range(len(choices)), key=lambda i: found[i].log_likelihood / len(f" {choices[i]}".encode()))
    score = Score(
        sample_id=sample.id,
        epoch=0,
        value=float(choices[best] == sample.target),
        answer=choices[best],
        explanation="log-likelihood",
        num_tokens=found[best].num_tokens,
        finish_reason="stop",
    )
    return score, choices[per_byte] == sample.target
