"""Running one model twice, to learn how much it differs from itself."""

import dataclasses
import datetime as dt

from quantguard.baselines import Baseline, Noise
from quantguard.benchmarks import Benchmark
from quantguard.engines._subject import Subject
from quantguard.errors import MeasurementError, UsageError
from quantguard.pipeline import evaluating, provenance
from quantguard.pipeline.progress import Progress, silent
from quantguard.records import GenerationConfig


def measure_noise(
    subject: Subject, baseline: Baseline, data: Benchmark, config: GenerationConfig, *, progress: Progress = silent
) -> Noise:
    """Run a model twice over the items of its baseline: in another order and batch size, with another seed of sampling.

    Nothing is taken from earlier runs. Raises UsageError for a model that the baseline is not of, and for a benchmark
    whose answers are not generated, and MeasurementError where nothing could be judged.
    """
    if data.task != "generate":
        raise UsageError(f"{data.name} generates nothing: two runs of a model choose alike, so there is no noise")
    size = subject.default_batch_size
    fingerprint = provenance.fingerprint(subject, data, config, batch_size=size)
    if changed := [difference.name for difference in baseline.fingerprint.differences(fingerprint)]:
        raise UsageError(f"the baseline is of another run: {', '.join(changed)} differ. Update it first, or leave it")
    other = dataclasses.replace(config, seed=config.seed + 1) if config.temperature else config
    samples = evaluating.named_samples(data, baseline.sample_ids)
    first = evaluating.run(subject, data, samples, config, batch_size=size, progress=progress)
    second = evaluating.run(subject, data, samples[::-1], other, batch_size=max(1, size // 2 - 1), progress=progress)
    then = {(score.sample_id, score.epoch): score.value for score in second.scores}
    pairs = [(s.value, then[s.sample_id, s.epoch]) for s in first.scores]
    judged = [(old, new) for old, new in pairs if old is not None and new is not None]
    if not judged:
        raise MeasurementError("not one item could be judged in both runs")
    return Noise(
        num_items=len(judged),
        num_flips=sum(old != new for old, new in judged),
        varied="order, batch size" + (", seed" if config.temperature else ""),
        on=dt.datetime.now(dt.UTC).date().isoformat(),
        fingerprint=fingerprint,
    )
