"""Comparing predictions with full precision's on text that both read."""

from collections.abc import Sequence

from quantguard import benchmarks
from quantguard.benchmarks import Benchmark
from quantguard.engines import transformers
from quantguard.engines._prompting import Request, render
from quantguard.engines._subject import Subject
from quantguard.errors import MeasurementError, UsageError
from quantguard.modeling import LoadedModel
from quantguard.modeling.comparing import compare_logits
from quantguard.pipeline import provenance
from quantguard.pipeline.calibration_items import require_unseen
from quantguard.pipeline.choosing import NOTHING
from quantguard.pipeline.decode_steps import batches, compare_ways
from quantguard.pipeline.opening import full_precision_of
from quantguard.pipeline.progress import Progress, silent
from quantguard.records import Generation, GenerationConfig, RunRecord, Sample

# How many items full precision answers where nobody says.
NUM_ANSWERED = 32


def run(subject: Subject, data: Benchmark, samples: Sequence[Sample], *, progress: Progress = silent) -> RunRecord:
    """Compare a model with full precision on a benchmark's text, or on what full precision answers to its items.

    Raises UsageError for a model whose logits are not at hand, and for multiple choice, which has no text.
    """
    loaded = subject.loaded
    if loaded is None:
        raise UsageError(f"{data.name} reads logits, so it takes a model of this process, not {subject.name}")
    if data.task == "choice":
        raise UsageError(f"{data.name} is multiple choice and has no text to compare predictions on")
    require_unseen(subject, data, samples)
    reference = full_precision_of(loaded)
    starts: list[int] | None = None
    if data.task == "fidelity":
        text = benchmarks.members.require(data.name, benchmarks.Text)
        sequences = text.token_sequences(loaded.tokenizer, samples)
        reach = sum(map(len, sequences))
    else:
        sequences, starts = _answers(reference, data, samples, progress)
        reach = max(starts) + data.max_new_tokens
    # As far as any answer may come, and no farther than the model does.
    reach = min(reach, loaded.model.config.max_position_embeddings)
    return RunRecord(
        model=subject.name,
        recipe=subject.recipe,
        benchmark=data.name,
        platform=subject.platform,
        generation_config=None,
        scores=(),
        kernels=subject.kernels(),
        must_match=provenance.must_match(subject, data, NOTHING, batch_size=1),
        recorded=provenance.recorded(subject, NOTHING, batch_size=1),
        metrics=compare_logits(loaded, reference, sequences, starts=starts)
        | compare_ways(loaded, reference, batches(sequences, starts or [1] * len(sequences), reach=reach)),
        notes=subject.notes,
    )


def _answers(
    reference: LoadedModel, data: Benchmark, samples: Sequence[Sample], progress: Progress
) -> tuple[list[list[int]], list[int]]:
    """Return prompts with full precision's greedy answers, as tokens, and how many of them are the prompt's.

    Raises MeasurementError where the engine leaves an answer out.
    """
    subject, answers = transformers.connect(reference), dict[str, str]()
    requests = [Request(sample_id=sample.id, epoch=0, text=data.prompt(sample)) for sample in samples]
    with progress(f"{subject.name} on {data.name}", len(requests)) as advance:

        def finished(generation: Generation) -> None:
            answers[generation.sample_id] = generation.text
            advance(1)

        config = GenerationConfig(max_new_tokens=data.max_new_tokens)
        subject.generate(requests, config, batch_size=subject.default_batch_size, finished=finished)
    if missing := [request.sample_id for request in requests if request.sample_id not in answers]:
        raise MeasurementError(
            f"the engine {subject.engine} left out {len(missing)} of full precision's {len(requests)} answers, such as"
            f" that to {missing[0]}: there is no text to compare predictions on"
        )
    prompts = {request.sample_id: render(reference, request.text, None) for request in requests}
    tokenize = reference.tokenizer
    starts = [len(tokenize(prompt, add_special_tokens=False)["input_ids"]) for prompt in prompts.values()]
    texts = [prompt + answers[id_] for id_, prompt in prompts.items()]
    return [tokenize(text, add_special_tokens=False)["input_ids"] for text in texts], starts
