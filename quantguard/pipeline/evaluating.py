"""Running a model on a benchmark and scoring it."""

import contextlib
import os
from collections.abc import Sequence

from quantguard import benchmarks
from quantguard.benchmarks import Benchmark, choose_subset
from quantguard.calibration._items import require_unseen
from quantguard.engines import transformers
from quantguard.engines._prompting import Request
from quantguard.engines._subject import Subject
from quantguard.errors import UsageError
from quantguard.gates import Display
from quantguard.measures import Models, fidelity
from quantguard.modeling import LoadedModel
from quantguard.pipeline import choosing, provenance
from quantguard.pipeline.display import displaying
from quantguard.pipeline.generating import Answered, generate
from quantguard.pipeline.generation_store import GenerationStore, Policy
from quantguard.pipeline.opening import full_precision_of, load
from quantguard.pipeline.progress import Progress, silent
from quantguard.pipeline.scoring import Scoring, how_scored
from quantguard.records import Fingerprint, Generation, GenerationConfig, RunRecord, Sample, to_json
from quantguard.verdict.metrics import reasoning, summarize


def evaluate(
    model: LoadedModel | Subject | str | os.PathLike[str],
    benchmark: str = "word-problems",
    *,
    subset: int | None = None,
    sample_ids: Sequence[str] | None = None,
    seed: int = 0,
    mode: str | None = None,
    temperature: float = 0.0,
    top_p: float = 1.0,
    epochs: int = 1,
    max_new_tokens: int | None = None,
    batch_size: int | None = None,
    progress: Progress = silent,
    store: GenerationStore | None = None,
) -> RunRecord:
    """Run a model on a subset of a benchmark and return the scored record.

    ``model`` is loaded, a name or path to load, or what an engine has opened, such as
    ``quantguard.engines.openai.connect(...)``. ``subset`` is a number of items, drawn by ``seed``; ``sample_ids`` names
    them instead. ``progress`` opens a display, silent unless given (``quantguard.pipeline.progress.bar`` draws one).
    ``store`` keeps answers, so that a run that is broken off can go on; without it nothing is kept. Raises UsageError
    for settings that cannot be meant, DataError for absent data and EngineError where answers are missing.
    """
    subject = subject_of(model)
    data = benchmarks.members[benchmark].load()
    samples = choose_subset(data, subset, seed=seed) if sample_ids is None else named_samples(data, sample_ids)
    if data.task != "generate":
        if (mode, temperature, epochs, max_new_tokens) != (None, 0.0, 1, None):
            raise UsageError(f"{benchmark} generates nothing: mode, temperature, epochs and limits do not apply to it")
        if data.task == "choice":
            return choosing.run(subject, data, samples, progress=progress)
        loaded = subject.loaded
        if loaded is None:
            raise UsageError(f"{data.name} reads logits, so it takes a model of this process, not {subject.name}")
        models = Models(candidate=loaded, reference=full_precision_of(loaded), progress=progress)
        return provenance.record_without_answers(subject, data, fidelity.compare(models, data, samples))
    config = GenerationConfig(
        max_new_tokens=data.max_new_tokens if max_new_tokens is None else max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        epochs=epochs,
        seed=seed,
        mode=mode,
    )
    return run(subject, data, samples, config, batch_size=batch_size, progress=progress, store=store)


def subject_of(model: LoadedModel | Subject | str | os.PathLike[str]) -> Subject:
    """Return what answers for a model, loading it where only its name is given."""
    if isinstance(model, (str, os.PathLike)):
        return transformers.connect(load(model))
    return transformers.connect(model) if isinstance(model, LoadedModel) else model


def run(
    subject: Subject,
    data: Benchmark,
    samples: Sequence[Sample],
    config: GenerationConfig,
    *,
    batch_size: int | None = None,
    progress: Progress = silent,
    store: GenerationStore | None = None,
    policy: Policy = "resume",
    known: dict[str, Generation] | None = None,
    display: Display | None = None,
    fingerprint: Fingerprint | None = None,
) -> RunRecord:
    """Generate, score and record; the scores come in the order of samples, epoch by epoch.

    Answers are kept in ``store``, where there is one, as ``policy`` says; those that it has are not asked for again.
    Neither are those that are ``known``, to which new ones are added. Without a ``display``, ``progress`` opens one.
    ``fingerprint`` is given where it has been worked out.
    """
    batch_size = subject.default_batch_size if batch_size is None else batch_size
    if batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}; at least one item runs at once")
    if subject.loaded is not None:
        require_unseen(subject.loaded, data, samples)
    requests = requests_of(data, samples, config)
    fingerprint = fingerprint or provenance.fingerprint(subject, data, config, batch_size=batch_size)
    recorded = provenance.recorded(subject, config, batch_size=batch_size) | subject.generation_facts()
    with contextlib.ExitStack() as stack:
        # Whatever the items and their scorer, an answer depends on its own prompt alone.
        facts = {"subject": subject.name, "fingerprint": to_json(fingerprint.of_answers()), "recorded": recorded}
        kept = None if store is None else stack.enter_context(store.answers_of(facts, policy))
        seen = display or stack.enter_context(displaying(progress, f"{subject.name} on {data.name}", len(requests)))
        scoring = stack.enter_context(Scoring(data, samples, seen.scored))
        told = _telling(scoring, seen)
        generations, resumed = generate(
            subject, requests, config, batch_size=batch_size, answered=told, kept=kept, known=known
        )
        scores = scoring.finish(generations)
        metrics = summarize(scores) | reasoning(generations)
    return RunRecord(
        model=subject.name,
        recipe=subject.recipe,
        served=subject.served,
        benchmark=data.name,
        platform=subject.platform,
        generation_config=config,
        scores=scores,
        kernels=subject.kernels(),
        fingerprint=fingerprint,
        recorded=recorded | how_scored(data),
        metrics=metrics,
        notes=(*subject.notes, *([resumed] if resumed and policy == "resume" else [])),
        generations=generations,
    )


def _telling(scoring: Scoring, seen: Display) -> Answered:
    """Return what has answers scored and shown as they come."""

    def answered(generations: Sequence[Generation], *, resumed: bool = False) -> None:
        for generation in generations:
            scoring.take(generation)
        seen.answered(len(generations), resumed=resumed)

    return answered


def requests_of(data: Benchmark, samples: Sequence[Sample], config: GenerationConfig) -> list[Request]:
    """Return what is asked for: every sample, epoch by epoch."""
    return [
        Request(sample_id=sample.id, epoch=epoch, text=data.prompt(sample))
        for epoch in range(config.epochs)
        for sample in samples
    ]


def named_samples(data: Benchmark, sample_ids: Sequence[str]) -> tuple[Sample, ...]:
    """Return the samples with these ids, in their order; raise UsageError for an id the benchmark does not have."""
    by_id = {sample.id: sample for sample in data.samples}
    unknown = [id_ for id_ in sample_ids if id_ not in by_id]
    if unknown or not sample_ids:
        raise UsageError(f"{data.name} has no item {unknown[0]!r}" if unknown else f"no item of {data.name} was named")
    return tuple(by_id[id_] for id_ in sample_ids)
