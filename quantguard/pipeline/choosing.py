"""Multiple choice: the model is not asked to write, the likeliest of the given answers is taken for its own."""

import contextlib
import statistics
from collections.abc import Sequence

from quantguard.benchmarks import Benchmark, continuations
from quantguard.engines._subject import Subject
from quantguard.errors import UsageError
from quantguard.modeling import LoadedModel
from quantguard.modeling.likelihood import likelihoods
from quantguard.pipeline import provenance
from quantguard.pipeline.calibration_items import require_unseen
from quantguard.pipeline.progress import Progress, silent
from quantguard.pipeline.watching import Watch, watching
from quantguard.records import GenerationConfig, RunRecord, Sample, Score

# Nothing is generated; this stands for it in the fingerprint.
NOTHING = GenerationConfig(max_new_tokens=1)


def run(
    subject: Subject,
    data: Benchmark,
    samples: Sequence[Sample],
    *,
    progress: Progress = silent,
    watch: Watch | None = None,
    matching: dict[str, str] | None = None,
) -> RunRecord:
    """Choose for every sample and record; raises UsageError for a model whose logits are not at hand.

    ``watch`` shows the choices where a display is open already; absent, ``progress`` opens one. ``matching`` is the
    fingerprint, where it has been worked out.
    """
    loaded = subject.loaded
    if loaded is None:
        raise UsageError(f"{data.name} reads logits, so it takes a model of this process, not {subject.name}")
    require_unseen(subject, data, samples)
    scores, by_length = [], []
    opened = watching(progress, f"{subject.name} on {data.name}", len(samples))
    with opened if watch is None else contextlib.nullcontext(watch) as seen:
        for sample in samples:
            score, right = _choose(loaded, sample)
            scores.append(score)
            by_length.append(right)
            seen.scored(score)
            seen.answered(1)
    return RunRecord(
        model=subject.name,
        recipe=subject.recipe,
        benchmark=data.name,
        platform=subject.platform,
        generation_config=None,
        scores=tuple(scores),
        kernels=subject.kernels(),
        must_match=matching or provenance.must_match(subject, data, NOTHING, batch_size=1),
        recorded=provenance.recorded(subject, NOTHING, batch_size=1),
        metrics={
            "accuracy": statistics.fmean(score.value or 0.0 for score in scores),
            "accuracy_by_length": statistics.fmean(by_length),
        },
        notes=subject.notes,
    )


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
