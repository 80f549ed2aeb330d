"""The measuring side of a gate: one candidate, made once, and the full-precision model beside it."""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import torch

from quantguard import registry
from quantguard.benchmarks import choose_subset
from quantguard.engines._subject import Subject
from quantguard.errors import UsageError
from quantguard.gates._session import Bytes, SupportsDecoding, Update
from quantguard.modeling import LoadedModel
from quantguard.modeling.swapping import weight_bytes
from quantguard.pipeline import choosing, evaluating, provenance, timing
from quantguard.pipeline.generation_store import GenerationStore, Policy
from quantguard.pipeline.in_process import InProcess
from quantguard.pipeline.opening import full_precision_of, load
from quantguard.pipeline.progress import Progress, silent
from quantguard.pipeline.quantizing import quantize
from quantguard.records import GenerationConfig, LayerReport, RunRecord
from quantguard.records.evaluation import recipe_name

# New baselines draw their items by this seed; afterwards the baseline itself says which items a gate runs.
_SUBSET_SEED = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the options of a run say about all gates.

    ``threads`` is torch's number of threads on a CPU; ``store`` is where answers are kept, or absent.
    """

    baselines: pathlib.Path
    update: Update | None = None
    accepted_regression: str | None = None
    limit: int | None = None
    seed: int = 0
    threads: int = 1
    progress: Progress = silent
    store: GenerationStore | None = None


class PipelineSession:
    """Measure a candidate for the gates of one check, beside ``reference``, which some gates can do without."""

    def __init__(self, candidate: Subject, reference: Subject | None, settings: Settings) -> None:
        self._candidate, self._reference, self._settings = candidate, reference, settings
        self.model = candidate.name
        self.recipe = recipe_name(candidate.recipe, served=candidate.served)
        self.platform = candidate.platform
        self.baselines = settings.baselines
        self.update = settings.update
        self.accepted_regression = settings.accepted_regression
        self.limit = settings.limit
        self.seed = settings.seed

    def config(self, benchmark: str, gate: SupportsDecoding) -> GenerationConfig:
        """Return how text is generated for a gate; raise UsageError for a benchmark that generates nothing."""
        data = registry.benchmarks[benchmark].load()
        if data.task == "fidelity":
            raise UsageError(
                f"{benchmark} has no accuracy to gate; use it with: quantguard evaluate --benchmark {benchmark}"
            )
        if data.task == "choice":
            if (gate.mode, gate.temperature, gate.epochs, gate.max_new_tokens) != (None, 0.0, 1, None):
                raise UsageError(
                    f"{benchmark} generates nothing: mode, temperature, epochs and max_new_tokens do not apply to it"
                )
            return choosing.NOTHING
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
        data, candidate = registry.benchmarks[benchmark].load(), self._candidate
        batch_size = 1 if data.task == "choice" else candidate.default_batch_size
        return provenance.must_match(candidate, data, config, batch_size=batch_size)

    def draw(self, benchmark: str, subset: int | None) -> tuple[str, ...]:
        """Return the items of a new baseline: ``subset`` of the benchmark, or its default number."""
        data = registry.benchmarks[benchmark].load()
        return tuple(sample.id for sample in choose_subset(data, subset, seed=_SUBSET_SEED))

    def run(self, benchmark: str, sample_ids: Sequence[str], config: GenerationConfig) -> RunRecord:
        """Run the candidate on the named samples."""
        return self._run(self._candidate, benchmark, sample_ids, config, policy="resume")

    def run_reference(self, benchmark: str, sample_ids: Sequence[str], config: GenerationConfig) -> RunRecord:
        """Run the full-precision model on the named samples, or take what it answered before.

        Raises UsageError where none was named.
        """
        if self._reference is None:
            raise UsageError(
                f"a baseline holds full precision beside {self.model}: say which model the server has for it,"
                " guard.check(…, reference='NAME')"
            )
        return self._run(self._reference, benchmark, sample_ids, config, policy="keep")

    def log_speedups(self, stage: str, *, num_pairs: int, num_tokens: int) -> list[float]:
        """Time full precision against the candidate in turn."""
        candidate, reference = self._here("latency")
        return timing.log_speedups(reference, candidate, stage, num_pairs=num_pairs, num_tokens=num_tokens)

    def bytes_of_weights(self) -> Bytes:
        """Weigh the candidate in memory and the files of full precision."""
        candidate, reference = self._here("memory")
        return Bytes(weight_bytes(candidate.model), reference.stored_bytes)

    def layer_reports(self) -> tuple[LayerReport, ...]:
        """Return how each decoder layer of the candidate came out of quantization, learning curves left out."""
        if not isinstance(self._candidate, InProcess):
            return ()
        return tuple(dataclasses.replace(report, losses=()) for report in self._candidate.loaded.layer_reports)

    def notes(self) -> tuple[str, ...]:
        """Return what a reader should know of how the candidate was made."""
        return self._candidate.notes

    def _here(self, what: str) -> tuple[LoadedModel, LoadedModel]:
        """Return both models; raise UsageError where they are not in this process."""
        if not isinstance(self._candidate, InProcess) or not isinstance(self._reference, InProcess):
            raise UsageError(
                f"a {what} gate measures a model of this process, and {self.model} answers by the engine"
                f" {self._candidate.engine}: take the marker off, or check the model itself, guard.check('PATH')"
            )
        return self._candidate.loaded, self._reference.loaded

    def _run(
        self, subject: Subject, benchmark: str, sample_ids: Sequence[str], config: GenerationConfig, *, policy: Policy
    ) -> RunRecord:
        data, settings = registry.benchmarks[benchmark].load(), self._settings
        samples = evaluating.named_samples(data, sample_ids)
        if data.task == "choice":
            return choosing.run(subject, data, samples, progress=settings.progress)
        return evaluating.run(
            subject, data, samples, config, progress=settings.progress, store=settings.store, policy=policy
        )


def open_session(model: str, *, recipe: str | None, device: str, backend: str, settings: Settings) -> PipelineSession:
    """Load a model, quantize it where a recipe is given, and put full precision beside it."""
    torch.set_num_threads(settings.threads)
    loaded = _load_once(model, device, backend)
    candidate = loaded if recipe is None else quantize(loaded, recipe, backend=backend)
    return PipelineSession(InProcess(candidate), InProcess(full_precision_of(candidate)), settings)


@functools.lru_cache(maxsize=1)
def _load_once(model: str, device: str, backend: str) -> LoadedModel:
    """Keep the last model: the gates of a session mostly share it, and quantizing copies it."""
    return load(model, device=device, backend=backend)
