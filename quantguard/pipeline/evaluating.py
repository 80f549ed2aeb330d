"""Running a model on a benchmark and scoring it."""

import os
from collections.abc import Sequence

from quantguard import registry
from quantguard.benchmarks import Benchmark, choose_subset
from quantguard.engines._prompting import Request
from quantguard.errors import UsageError
from quantguard.modeling import LoadedModel
from quantguard.modeling.comparing import compare_logits
from quantguard.modeling.swapping import kernels_in_use
from quantguard.pipeline import provenance
from quantguard.pipeline.opening import full_precision_of, load
from quantguard.pipeline.progress import Advance, Progress, silent
from quantguard.pipeline.scoring import reasoning, recorded, score_all, summarize
from quantguard.records import Generation, GenerationConfig, RunRecord, Sample

DEFAULT_BATCH_SIZE = 128


def evaluate(
    model: LoadedModel | str | os.PathLike[str],
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
    batch_size: int = DEFAULT_BATCH_SIZE,
    progress: Progress = silent,
) -> RunRecord:
    """Run a model on a subset of a benchmark and return the scored record.

    ``subset`` is a number of items, drawn by ``seed``; ``sample_ids`` names them instead. ``progress`` opens a display,
    silent unless given (``quantguard.pipeline.progress.bar`` draws one). Raises UsageError for settings that cannot
    be meant and DataError for absent data.
    """
    loaded = model if isinstance(model, LoadedModel) else load(model)
    data: Benchmark = registry.benchmarks[benchmark].load()
    if data.task == "fidelity":
        if (mode, temperature, epochs, max_new_tokens, sample_ids) != (None, 0.0, 1, None, None):
            raise UsageError(f"{benchmark} generates nothing: mode, temperature, epochs and limits do not apply to it")
        return _evaluate_fidelity(loaded, data, choose_subset(data, subset, seed=seed))
    config = GenerationConfig(
        max_new_tokens=data.max_new_tokens if max_new_tokens is None else max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        epochs=epochs,
        seed=seed,
        mode=mode,
    )
    samples = choose_subset(data, subset, seed=seed) if sample_ids is None else named_samples(data, sample_ids)
    return run(loaded, data, samples, config, batch_size=batch_size, progress=progress)


def run(
    loaded: LoadedModel,
    data: Benchmark,
    samples: Sequence[Sample],
    config: GenerationConfig,
    *,
    batch_size: int = DEFAULT_BATCH_SIZE,
    progress: Progress = silent,
) -> RunRecord:
    """Generate, score and record; the scores come in the order of samples, epoch by epoch."""
    requests = [
        Request(sample_id=sample.id, epoch=epoch, text=data.prompt(sample))
        for epoch in range(config.epochs)
        for sample in samples
    ]
    if batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}; at least one item runs at once")
    with progress(f"{loaded.name} on {data.name}", len(requests)) as advance:
        generations = _generate(loaded, requests, config, batch_size=batch_size, advance=advance)
    scores = score_all(data, samples, generations)
    return RunRecord(
        model=loaded.name,
        recipe=loaded.recipe,
        benchmark=data.name,
        platform=provenance.platform_of(loaded),
        generation_config=config,
        scores=scores,
        kernels=kernels_in_use(loaded.model),
        must_match=provenance.must_match(loaded, data, config, batch_size=batch_size),
        recorded=provenance.recorded(loaded, config, batch_size=batch_size) | recorded(data),
        metrics=summarize(scores) | reasoning(generations),
        notes=loaded.notes,
        generations=tuple(generations),
    )


def _generate(
    loaded: LoadedModel, requests: Sequence[Request], config: GenerationConfig, *, batch_size: int, advance: Advance
) -> list[Generation]:
    """Return the generations in the order of the requests, whatever the order they were finished in."""
    done: dict[tuple[str, int], Generation] = {}

    def finished(generation: Generation) -> None:
        done[generation.sample_id, generation.epoch] = generation
        advance(1)

    engine = registry.engines[provenance.ENGINE]
    engine.generate(loaded, requests, config, batch_size=batch_size, finished=finished)
    return [done[request.sample_id, request.epoch] for request in requests]


def _evaluate_fidelity(loaded: LoadedModel, data: Benchmark, samples: Sequence[Sample]) -> RunRecord:
    """Compare the model's predictions with full precision on given text."""
    module = registry.benchmarks[data.name]
    sequences = module.token_sequences(loaded.tokenizer, samples)
    config = GenerationConfig(max_new_tokens=1)
    return RunRecord(
        model=loaded.name,
        recipe=loaded.recipe,
        benchmark=data.name,
        platform=provenance.platform_of(loaded),
        generation_config=None,
        scores=(),
        kernels=kernels_in_use(loaded.model),
        must_match=provenance.must_match(loaded, data, config, batch_size=1),
        recorded=provenance.recorded(loaded, config, batch_size=1),
        metrics=compare_logits(loaded, full_precision_of(loaded), sequences),
        notes=loaded.notes,
    )


def named_samples(data: Benchmark, sample_ids: Sequence[str]) -> tuple[Sample, ...]:
    """Return the samples with these ids, in their order; raise UsageError for an id the benchmark does not have."""
    by_id = {sample.id: sample for sample in data.samples}
    unknown = [id_ for id_ in sample_ids if id_ not in by_id]
    if unknown or not sample_ids:
        raise UsageError(f"{data.name} has no item {unknown[0]!r}" if unknown else f"no item of {data.name} was named")
    return tuple(by_id[id_] for id_ in sample_ids)
