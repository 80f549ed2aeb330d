"""The measuring side of a gate: one candidate, made once, and the full-precision model beside it."""

import collections
import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal

import torch

from quantguard import benchmarks
from quantguard.baselines import Baseline
from quantguard.benchmarks import SUBSET_SEED, choose_subset
from quantguard.engines import transformers
from quantguard.engines._subject import Subject
from quantguard.errors import MeasurementError, UsageError
from quantguard.gates._session import Bytes, Estimate, Peak, Reruns, SupportsDecoding, Update
from quantguard.modeling import LoadedModel, tracing
from quantguard.modeling.comparing import logits_behind
from quantguard.modeling.swapping import kernels_in_use, weight_bytes
from quantguard.pipeline import choosing, evaluating, fidelity, joining, peaks, provenance, timing
from quantguard.pipeline.generation_store import GenerationStore, Policy, own_sources
from quantguard.pipeline.layer_trace import trace, traced_text
from quantguard.pipeline.opening import full_precision_of, load, made_from
from quantguard.pipeline.progress import Progress, silent
from quantguard.pipeline.quantizing import quantize
from quantguard.pipeline.rerun_store import RerunStore
from quantguard.pipeline.watching import Watch, watching
from quantguard.records import Generation, GenerationConfig, LayerError, LayerReport, LayerSketch, RunRecord, TimedBlock
from quantguard.records.codec import digest
from quantguard.records.evaluation import recipe_name
from quantguard.stats import Method

# What both models of a check read once, to see that they are two.
_ANY_TEXT = "Sue has 31 toys and finds 22 more. How many toys has Sue now?"
# What of a model's identity says how it is asked, and not what its layers compute.
_NOT_OF_LAYERS = frozenset({"engine", "prompt", "batch_size", "stop_ids"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the options of a run say about all gates.

    ``threads`` is torch's number of threads on a CPU; ``store`` is where answers are kept, ``reruns`` where runs that
    did not pass are; either may be absent. ``measured`` are the baselines that earlier tests of this run have measured,
    by path. ``alone`` is entered while something is timed: it waits until nothing else
    is timed on this machine.
    """

    baselines: pathlib.Path
    update: Update | None = None
    accepted_regression: str | None = None
    limit: int | None = None
    seed: int = 0
    threads: int = 1
    progress: Progress = silent
    store: GenerationStore | None = None
    early_stop: Method = "group-sequential"
    inconclusive: Literal["warn", "fail"] = "fail"
    reruns: RerunStore | None = None
    measured: Mapping[str, Baseline] = dataclasses.field(default_factory=dict)
    alone: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext


class PipelineSession:
    """Measure a candidate for the gates of one check, beside ``reference``, which some gates can do without."""

    def __init__(self, candidate: Subject, reference: Subject | None, settings: Settings) -> None:
        self._candidate, self._reference, self._settings = candidate, reference, settings
        # The candidate's answers by decoding: the gates of one check share them.
        self._answers: dict[GenerationConfig, dict[str, Generation]] = {}
        self._fingerprints: dict[tuple[str, GenerationConfig], dict[str, str]] = {}
        self._is_another = False
        self._watch: Watch | None = None
        self.model = candidate.name
        self.recipe = recipe_name(candidate.recipe, served=candidate.served)
        self.platform = candidate.platform
        self.reference = None if reference is None else reference.name
        self.baselines = settings.baselines
        self.update = settings.update
        self.accepted_regression = settings.accepted_regression
        self.limit = settings.limit
        self.seed = settings.seed
        self.early_stop, self.inconclusive = settings.early_stop, settings.inconclusive
        self.reruns: Reruns | None = settings.reruns
        # What is added here counts for this check alone until the whole test has ended well.
        self.measured: MutableMapping[str, Baseline] = collections.ChainMap({}, dict(settings.measured))

    def config(self, benchmark: str, gate: SupportsDecoding) -> GenerationConfig:
        """Return how text is generated for a gate; raise UsageError for a benchmark that generates nothing."""
        data = benchmarks.members[benchmark].load()
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
        # A seed is no part of it, and the tokens of all prompts are worked out once.
        key = benchmark, dataclasses.replace(config, seed=0)
        if key not in self._fingerprints:
            data, candidate = benchmarks.members[benchmark].load(), self._candidate
            batch_size = 1 if data.task == "choice" else candidate.default_batch_size
            self._fingerprints[key] = provenance.must_match(candidate, data, config, batch_size=batch_size)
        return self._fingerprints[key]

    def rerun_key(self, benchmark: str, config: GenerationConfig, baseline: Baseline) -> str:
        """Name a gate by its baseline, its place and all that its answers depend on but the seed."""
        recorded = provenance.recorded(self._candidate, config, batch_size=self._candidate.default_batch_size)
        facts = self.fingerprint(benchmark, config) | {k: v for k, v in recorded.items() if k != "seed"}
        return digest([str(self.baselines.absolute()), self.platform, self.model, facts, own_sources(), baseline])

    def join(self, records: Sequence[RunRecord]) -> RunRecord:
        """Return one record of a run that was made in blocks."""
        return joining.join(records)

    def draw(self, benchmark: str, subset: int | None) -> tuple[str, ...]:
        """Return the items of a new baseline: ``subset`` of the benchmark, or its default number.

        Afterwards the baseline itself says which items a gate runs.
        """
        data = benchmarks.members[benchmark].load()
        return tuple(sample.id for sample in choose_subset(data, subset, seed=SUBSET_SEED))

    @contextlib.contextmanager
    def watched(self, benchmark: str, num_answers: int, estimate: Estimate) -> Iterator[None]:
        """Show the runs of the candidate within the block as one of so many answers, with what they amount to."""
        label = f"{self.recipe} on {benchmark}"
        with watching(self._settings.progress, label, num_answers, estimate) as watch:
            self._watch = watch
            try:
                yield
            finally:
                self._watch = None

    def run(self, benchmark: str, sample_ids: Sequence[str], config: GenerationConfig) -> RunRecord:
        """Run the candidate on the named samples; what a gate of this check has had answered is not asked again.

        Raises MeasurementError for a quantized candidate that computes what full precision does, bit for bit.
        """
        self._require_another()
        known = self._answers.setdefault(config, {})
        return self._run(
            self._candidate, benchmark, sample_ids, config, policy="resume", known=known, watch=self._watch
        )

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

    def fidelity(self, benchmark: str, subset: int | None) -> RunRecord:
        """Compare the candidate's predictions with full precision's on a benchmark's text or answers."""
        data = benchmarks.members[benchmark].load()
        count = fidelity.NUM_ANSWERED if subset is None and data.task == "generate" else subset
        samples = choose_subset(data, count, seed=SUBSET_SEED)
        return fidelity.run(self._candidate, data, samples, progress=self._settings.progress)

    def layer_fingerprint(self) -> dict[str, str]:
        """Return what a stored profile of the candidate's layers has to share with it, the text among it."""
        candidate, _ = self._here("layerwise")
        facts = self._candidate.identity(batch_size=1)
        return {key: value for key, value in facts.items() if key not in _NOT_OF_LAYERS} | {
            "data": digest(traced_text(candidate))
        }

    def layer_sketches(self) -> tuple[LayerSketch, ...]:
        """Return a sketch of what every layer of the candidate puts out on a fixed text."""
        candidate, _ = self._here("layerwise")
        return tracing.sketches(trace(candidate, traced_text(candidate)))

    def layer_errors(self, backend: str) -> tuple[LayerError, ...]:
        """Return how far the candidate's layers are from the same weights' on another kernel backend.

        Raises UsageError for full precision, which has no kernels to choose, and for the candidate's own kernels.
        """
        candidate, reference = self._here("layerwise")
        if candidate.recipe is None:
            raise UsageError(f"{candidate.name} is not quantized: it has no kernels to compare with {backend!r}")
        if candidate.checkpoint is None:
            other = quantize(reference, candidate.recipe, backend=backend)
        else:
            other = load(candidate.checkpoint, dtype=candidate.dtype, device=candidate.device_type, backend=backend)
        if kernels_in_use(other.model) == kernels_in_use(candidate.model):
            raise UsageError(
                f"{candidate.name} runs on the kernels of {backend!r} itself, so there is nothing to compare: check it"
                " with another backend, guard.check(…, backend='cpu') or 'reference', or leave the gate's backend out"
            )
        text = traced_text(candidate)
        return tracing.errors_between(trace(candidate, text), trace(other, text))

    @contextlib.contextmanager
    def timing(self, stage: str, *, num_tokens: int) -> Iterator[Callable[[int], list[TimedBlock]]]:
        """Have the machine's timing to oneself, and time full precision against the candidate in blocks."""
        candidate, reference = self._here("latency")
        with (
            self._settings.alone(),
            timing.stopwatch(reference, candidate, stage, num_tokens=num_tokens) as time_blocks,
        ):
            yield time_blocks

    def bytes_of_weights(self) -> Bytes:
        """Weigh the candidate in memory and the files of full precision."""
        candidate, reference = self._here("memory")
        return Bytes(weight_bytes(candidate.model), reference.stored_bytes)

    def peak_bytes(self, *, num_tokens: int, num_new_tokens: int) -> tuple[Peak, Peak]:
        """Measure both models' peaks of memory, one after the other."""
        candidate, reference = (
            peaks.peak_bytes(loaded, num_tokens=num_tokens, num_new_tokens=num_new_tokens)
            for loaded in self._here("memory")
        )
        return candidate, reference

    def layer_reports(self) -> tuple[LayerReport, ...]:
        """Return how each decoder layer of the candidate came out of quantization, learning curves left out."""
        loaded = self._candidate.loaded
        return () if loaded is None else tuple(dataclasses.replace(one, losses=()) for one in loaded.layer_reports)

    def notes(self) -> tuple[str, ...]:
        """Return what a reader should know of how the candidate was made."""
        return self._candidate.notes

    def _require_another(self) -> None:
        """Raise MeasurementError where both models are the same one; it is looked at once, on a few tokens."""
        ours, theirs = self._candidate.loaded, None if self._reference is None else self._reference.loaded
        if self._is_another or ours is None or theirs is None:
            return
        if ours.recipe is not None:
            tokens = ours.tokenizer(_ANY_TEXT, add_special_tokens=False)["input_ids"]
            mine, other = (logits_behind(one, tokens, len(tokens) - 1) for one in (ours, theirs))
            if torch.equal(mine, other):
                raise MeasurementError(
                    f"{self.model} with {self.recipe} computes what full precision does, to the last bit: it is its own"
                    " reference, or no layer of it is quantized. Look at ignore in the recipe, and at what reference="
                    " names"
                )
        self._is_another = True

    def _here(self, what: str) -> tuple[LoadedModel, LoadedModel]:
        """Return both models; raise UsageError where they are not in this process."""
        candidate = self._candidate.loaded
        reference = None if self._reference is None else self._reference.loaded
        if candidate is None or reference is None:
            raise UsageError(
                f"a {what} gate measures a model of this process, and {self.model} answers by the engine"
                f" {self._candidate.engine}: take the marker off, or check the model itself, guard.check('PATH')"
            )
        return candidate, reference

    def _run(
        self,
        subject: Subject,
        benchmark: str,
        sample_ids: Sequence[str],
        config: GenerationConfig,
        *,
        policy: Policy,
        known: dict[str, Generation] | None = None,
        watch: Watch | None = None,
    ) -> RunRecord:
        data, settings = benchmarks.members[benchmark].load(), self._settings
        samples = evaluating.named_samples(data, sample_ids)
        matching = self.fingerprint(benchmark, config) if subject is self._candidate else None
        if data.task == "choice":
            return choosing.run(subject, data, samples, progress=settings.progress, watch=watch, matching=matching)
        return evaluating.run(
            subject,
            data,
            samples,
            config,
            progress=settings.progress,
            store=settings.store,
            policy=policy,
            known=known,
            watch=watch,
            matching=matching,
        )


def open_session(
    model: str, *, recipe: str | None, device: str, backend: str, reference: str | None = None, settings: Settings
) -> PipelineSession:
    """Load a model, quantize it where a recipe is given, and put full precision beside it.

    ``reference`` names the full-precision model of a checkpoint that another tool quantized.
    """
    torch.set_num_threads(settings.threads)
    loaded = _load_once(model, device, backend)
    if reference is not None:
        loaded = made_from(loaded, reference)
    candidate = loaded if recipe is None else quantize(loaded, recipe, backend=backend)
    return PipelineSession(
        transformers.connect(candidate), transformers.connect(full_precision_of(candidate)), settings
    )


@functools.lru_cache(maxsize=1)
def _load_once(model: str, device: str, backend: str) -> LoadedModel:
    """Keep the last model: the gates of a session mostly share it, and quantizing copies it."""
    return load(model, device=device, backend=backend)
