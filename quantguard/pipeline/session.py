"""The measuring side of a gate: one candidate, made once, and its full-precision model."""

import collections
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch

from quantguard import measures
from quantguard.baselines import Baseline
from quantguard.benchmarks import NOTHING, Benchmark, Benchmarks, Task
from quantguard.engines import transformers
from quantguard.engines._subject import Subject
from quantguard.errors import MeasurementError, UsageError
from quantguard.gates import Display, EarlierRun, Estimate
from quantguard.measures import Models
from quantguard.modeling import LoadedModel
from quantguard.modeling.comparing import logits_behind
from quantguard.pipeline import choosing, evaluating, provenance
from quantguard.pipeline.display import displaying
from quantguard.pipeline.generation_store import GenerationStore, Policy, own_sources
from quantguard.pipeline.opening import full_precision_of, load, made_from
from quantguard.pipeline.progress import Progress, silent
from quantguard.pipeline.quantizing import quantize
from quantguard.pipeline.rerun_store import RerunStore
from quantguard.pipeline.serving import Service
from quantguard.records import Fingerprint, Generation, GenerationConfig, LayerReport, Question, RunRecord
from quantguard.records.candidate import Candidate
from quantguard.records.codec import digest
from quantguard.records.evaluation import recipe_name
from quantguard.run_options import RunOptions, Target

# What both models of a check read once, to see that they are two.
_ANY_TEXT = "Sue has 31 toys and finds 22 more. How many toys has Sue now?"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """What the checks of one run share, options apart."""

    benchmarks: Benchmarks = dataclasses.field(default_factory=Benchmarks)
    """The benchmarks, each of which is read once."""
    store: GenerationStore | None = None
    """Where answers are kept, absent where none are."""
    reruns: RerunStore | None = None
    """Where runs that did not pass are kept, absent where none are."""
    measured: Mapping[str, Baseline] = dataclasses.field(default_factory=dict)
    """The baselines that earlier tests of this run have measured, by path."""
    alone: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    """Entered while something is timed: it waits until nothing else is timed on this machine."""
    progress: Progress = silent
    """Opens a display of how far a run is."""


@dataclasses.dataclass(frozen=True, slots=True)
class _EarlierRuns:
    """The runs of one gate that did not pass."""

    store: RerunStore
    key: str

    def read(self) -> tuple[EarlierRun, ...]:
        """Return them, the oldest first."""
        return self.store.earlier(self.key)

    def add(self, run: EarlierRun) -> None:
        """Keep one more."""
        self.store.remember(self.key, run)

    def forget(self) -> None:
        """Drop them all."""
        self.store.forget(self.key)


class PipelineSession:
    """Measure a candidate for the gates of one check; some gates can do without its full-precision model."""

    def __init__(self, candidate: Subject, reference: Subject | None, options: RunOptions, state: RunState) -> None:
        self._candidate, self._reference, self._state = candidate, reference, state
        # The candidate's answers by decoding: the gates of one check share them.
        self._answers: dict[GenerationConfig, dict[str, Generation]] = {}
        self._fingerprints: dict[tuple[str, GenerationConfig], Fingerprint] = {}
        self._is_another = False
        self.options = options
        self.benchmarks = state.benchmarks
        self.candidate = Candidate(
            model=candidate.name,
            recipe=recipe_name(candidate.recipe, served=candidate.served),
            platform=candidate.platform,
            reference=None if reference is None else reference.name,
            notes=candidate.notes,
        )
        # What is added here counts for this check alone until the whole test has ended well.
        self.measured: MutableMapping[str, Baseline] = collections.ChainMap({}, dict(state.measured))

    def fingerprint(self, task: Task | None = None) -> Fingerprint:
        """Return what a baseline of a task has to share with a run of the candidate, or what its layers have to."""
        if task is None:
            return self._candidate.fingerprint(Question(), batch_size=1)
        # A seed is no part of it, and the tokens of all prompts are worked out once.
        key = task.benchmark.name, dataclasses.replace(task.config, seed=0)
        if key not in self._fingerprints:
            batch_size = 1 if task.benchmark.task == "choice" else self._candidate.default_batch_size
            self._fingerprints[key] = provenance.fingerprint(
                self._candidate, task.benchmark, task.config, batch_size=batch_size
            )
        return self._fingerprints[key]

    def run(self, task: Task, sample_ids: Sequence[str], *, display: Display | None = None) -> RunRecord:
        """Run the candidate on the named samples; what a gate of this check has had answered is not asked again.

        Raises MeasurementError for a quantized candidate that computes what full precision does, bit for bit.
        """
        self._require_another()
        known = self._answers.setdefault(task.config, {})
        return self._run(self._candidate, task, sample_ids, policy="resume", known=known, display=display)

    def reference(self, task: Task, sample_ids: Sequence[str]) -> RunRecord:
        """Run the full-precision model on the named samples, or take what it answered before.

        Raises UsageError where none was named.
        """
        if self._reference is None:
            raise UsageError(
                f"a baseline holds full precision beside {self.candidate.model}: say which model the server has for it,"
                " guard.check(…, reference='NAME')"
            )
        return self._run(self._reference, task, sample_ids, policy="keep")

    def display(self, task: Task, num_answers: int, estimate: Estimate) -> AbstractContextManager[Display]:
        """Show runs of the candidate as one of so many answers, with what they amount to."""
        label = f"{self.candidate.recipe} on {task.benchmark.name}"
        return displaying(self._state.progress, label, num_answers, estimate)

    def earlier_runs(self, *facts: object) -> _EarlierRuns | None:
        """Return the runs that did not pass of the gate that these facts make, whatever their seed."""
        if self._state.reruns is None:
            return None
        recorded = provenance.recorded(self._candidate, NOTHING, batch_size=self._candidate.default_batch_size)
        names = str(self.options.baselines.absolute()), self.candidate.platform, self.candidate.model
        key = digest([*names, {k: v for k, v in recorded.items() if k != "seed"}, own_sources(), *facts])
        return _EarlierRuns(self._state.reruns, key)

    def measure(self, kind: str, *, gate: str, **settings: Any) -> Any:
        """Have a member of ``quantguard.measures`` measure both models.

        Raises UsageError, naming the ``gate``, where they are not in this process.
        """
        candidate, reference = self._candidate.loaded, None if self._reference is None else self._reference.loaded
        if candidate is None or reference is None:
            raise UsageError(
                f"a {gate} gate measures a model of this process, and {self.candidate.model} answers by the engine"
                f" {self._candidate.engine}: take the marker off, or check the model itself, guard.check('PATH')"
            )
        models = Models(
            candidate=candidate,
            reference=reference,
            alone=self._state.alone,
            progress=self._state.progress,
            on_backend=functools.partial(_on_backend, candidate, reference),
        )
        return measures.members[kind].measure(models, **settings)

    def record(self, benchmark: Benchmark, metrics: dict[str, float]) -> RunRecord:
        """Return the record of a measurement of the candidate on a benchmark's text."""
        return provenance.record_without_answers(self._candidate, benchmark, metrics)

    def layer_reports(self) -> tuple[LayerReport, ...]:
        """Return how each decoder layer of the candidate came out of quantization, learning curves left out."""
        loaded = self._candidate.loaded
        return () if loaded is None else tuple(dataclasses.replace(one, losses=()) for one in loaded.layer_reports)

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
                    f"{self.candidate.model} with {self.candidate.recipe} computes what full precision does, to the"
                    " last bit: it is its own reference, or no layer of it is quantized. Look at ignore in the recipe,"
                    " and at what reference= names"
                )
        self._is_another = True

    def _run(
        self,
        subject: Subject,
        task: Task,
        sample_ids: Sequence[str],
        *,
        policy: Policy,
        known: dict[str, Generation] | None = None,
        display: Display | None = None,
    ) -> RunRecord:
        data, progress = task.benchmark, self._state.progress
        samples = evaluating.named_samples(data, sample_ids)
        fingerprint = self.fingerprint(task) if subject is self._candidate else None
        if data.task == "choice":
            return choosing.run(subject, data, samples, progress=progress, display=display, fingerprint=fingerprint)
        return evaluating.run(
            subject,
            data,
            samples,
            task.config,
            progress=progress,
            store=self._state.store,
            policy=policy,
            known=known,
            display=display,
            fingerprint=fingerprint,
        )


def _on_backend(candidate: LoadedModel, reference: LoadedModel, backend: str) -> LoadedModel:
    """Make a quantized candidate again with the kernels of another backend."""
    if candidate.checkpoint is not None:
        return load(candidate.checkpoint, dtype=candidate.dtype, device=candidate.device_type, backend=backend)
    assert candidate.recipe is not None
    return quantize(reference, candidate.recipe, backend=backend)


def open_session(target: Target, options: RunOptions, state: RunState) -> PipelineSession:
    """Put a model to the gates: connect to whoever serves it, or load it, quantize it and find its full precision."""
    if target.engine is not None:
        service = Service(engine=target.engine, url=target.endpoint, tokenizer=target.tokenizer)
        served = None if target.reference is None else service.connect(target.reference)
        return PipelineSession(service.connect(target.model), served, options, state)
    torch.set_num_threads(options.threads)
    loaded = _load_once(target.model, target.device, target.backend)
    if target.reference is not None:
        loaded = made_from(loaded, target.reference)
    candidate = loaded if target.recipe is None else quantize(loaded, target.recipe, backend=target.backend)
    return PipelineSession(
        transformers.connect(candidate), transformers.connect(full_precision_of(candidate)), options, state
    )


@functools.lru_cache(maxsize=1)
def _load_once(model: str, device: str, backend: str) -> LoadedModel:
    """Keep the last model: the gates of a session mostly share it, and quantizing copies it."""
    return load(model, device=device, backend=backend)
