"""The measuring side of a gate: one candidate, made once, and the full-precision model beside it."""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import torch

from quantguard import registry
from quantguard.benchmarks import choose_subset
from quantguard.errors import UsageError
from quantguard.gates._session import Bytes, SupportsDecoding, Update
from quantguard.modeling import LoadedModel
from quantguard.modeling.swapping import weight_bytes
from quantguard.pipeline import evaluating, provenance, timing
from quantguard.pipeline.opening import full_precision_of, load
from quantguard.pipeline.progress import Progress, silent
from quantguard.pipeline.quantizing import quantize
from quantguard.records import GenerationConfig, RunRecord

# New baselines draw their items by this seed; afterwards the baseline itself says which items a gate runs.
_SUBSET_SEED = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the options of a run say about all gates. ``threads`` is torch's number of threads on a CPU."""

    baselines: pathlib.Path
    update: Update | None = None
    accepted_regression: str | None = None
    limit: int | None = None
    seed: int = 0
    threads: int = 1
    progress: Progress = silent


class PipelineSession:
    """Measure for the gates of one check."""

    def __init__(self, model: str, *, recipe: str | None, device: str, backend: str, settings: Settings) -> None:
        torch.set_num_threads(settings.threads)
        self._settings = settings
        loaded = _load_once(model, device, backend)
        self._candidate = loaded if recipe is None else quantize(loaded, recipe, backend=backend)
        self._full_precision = full_precision_of(self._candidate)
        self.model = self._candidate.name
        self.recipe = self._candidate.recipe.name if self._candidate.recipe else "full-precision"
        self.platform = provenance.platform_of(self._candidate)
        self.baselines = settings.baselines
        self.update = settings.update
        self.accepted_regression = settings.accepted_regression
        self.limit = settings.limit
        self.seed = settings.seed

    def config(self, benchmark: str, gate: SupportsDecoding) -> GenerationConfig:
        """Return how text is generated for a gate; raise UsageError for a benchmark that generates nothing."""
        data = registry.benchmarks[benchmark].load()
        if data.task != "generate":
            raise UsageError(
                f"{benchmark} has no accuracy to gate; use it with: quantguard evaluate --benchmark {benchmark}"
            )
        return GenerationConfig(
            max_new_tokens=data.max_new_tokens if gate.max_new_tokens is None else gate.max_new_tokens,
            temperature=gate.temperature,
            top_p=gate.top_p,
            epochs=gate.epochs,
            seed=self.seed,
            mode=gate.mode,
        )

    def fingerprint(self, benchmark: str, config: GenerationConfig) -> dict[str, str]:
        """Return what a baseline has to share with a run of the candidate."""
        data = registry.benchmarks[benchmark].load()
        return provenance.must_match(self._candidate, data, config, batch_size=evaluating.DEFAULT_BATCH_SIZE)

    def run(
        self, benchmark: str, sample_ids: Sequence[str] | None, config: GenerationConfig, *, subset: int | None = None
    ) -> RunRecord:
        """Run the candidate on the named samples; absent, on ``subset`` of the benchmark or its default number."""
        data = registry.benchmarks[benchmark].load()
        if sample_ids is None:
            sample_ids = [sample.id for sample in choose_subset(data, subset, seed=_SUBSET_SEED)]
        return self._run(self._candidate, benchmark, sample_ids, config)

    def run_reference(self, benchmark: str, sample_ids: Sequence[str], config: GenerationConfig) -> RunRecord:
        """Run the full-precision model on the named samples."""
        return self._run(self._full_precision, benchmark, sample_ids, config)

    def log_speedups(self, stage: str, *, num_pairs: int, num_tokens: int) -> list[float]:
        """Time full precision against the candidate in turn."""
        return timing.log_speedups(
            self._full_precision, self._candidate, stage, num_pairs=num_pairs, num_tokens=num_tokens
        )

    def bytes_of_weights(self) -> Bytes:
        """Weigh the candidate in memory and the files of full precision."""
        return Bytes(weight_bytes(self._candidate.model), self._full_precision.stored_bytes)

    def notes(self) -> tuple[str, ...]:
        """Return what a reader should know of how the candidate was made."""
        return self._candidate.notes

    def _run(
        self, loaded: LoadedModel, benchmark: str, sample_ids: Sequence[str], config: GenerationConfig
    ) -> RunRecord:
        data = registry.benchmarks[benchmark].load()
        samples = evaluating.named_samples(data, sample_ids)
        return evaluating.run(loaded, data, samples, config, progress=self._settings.progress)


@functools.lru_cache(maxsize=1)
def _load_once(model: str, device: str, backend: str) -> LoadedModel:
    """Keep the last model: the gates of a session mostly share it, and quantizing copies it."""
    return load(model, device=device, backend=backend)
