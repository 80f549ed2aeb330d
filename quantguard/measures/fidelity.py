"""How close predictions are to full precision's, on text that both models read."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from quantguard import registry
from quantguard.benchmarks import SUBSET_SEED, Benchmark, choose_subset
from quantguard.calibration._items import require_unseen
from quantguard.engines._prompting import Request, render
from quantguard.errors import MeasurementError, UsageError
from quantguard.measures import Models
from quantguard.measures._decode_steps import ENGINE, batches, compare_ways
from quantguard.modeling import LoadedModel
from quantguard.modeling.comparing import compare_logits
from quantguard.records import Generation, GenerationConfig, Sample

# How many items full precision answers where nobody says.
NUM_ANSWERED = 32
# How many answers are written at once.
BATCH_SIZE = 256


def measure(
    models: Models, *, benchmark: Benchmark, subset: int | None = None, seed: int = SUBSET_SEED
) -> dict[str, float]:
    """Compare both models on a benchmark's text, or on what full precision answers to ``subset`` of its items.

    Returns the metrics of ``modeling.comparing.compare_logits`` and ``compare_ways``. Raises UsageError for multiple
    choice, which has no text.
    """
    return compare(models, benchmark, drawn(benchmark, subset, seed=seed))


def drawn(benchmark: Benchmark, subset: int | None, *, seed: int = SUBSET_SEED) -> tuple[Sample, ...]:
    """Return the items whose text is compared on."""
    count = NUM_ANSWERED if subset is None and benchmark.task == "generate" else subset
    return choose_subset(benchmark, count, seed=seed)


def compare(models: Models, data: Benchmark, samples: Sequence[Sample]) -> dict[str, float]:
    """Compare both models on the text of these samples; see ``measure``."""
    if data.task == "choice":
        raise UsageError(f"{data.name} is multiple choice and has no text to compare predictions on")
    candidate, reference = models.candidate, models.reference
    require_unseen(candidate, data, samples)
    starts: list[int] | None = None
    if data.task == "fidelity":
        sequences: list[list[int]] = registry.benchmarks[data.name].token_sequences(candidate.tokenizer, samples)
        reach = sum(map(len, sequences))
    else:
        sequences, starts = _answers(reference, data, samples, models.progress)
        reach = max(starts) + data.max_new_tokens
    # As far as any answer may come, and no farther than the model does.
    reach = min(reach, candidate.model.config.max_position_embeddings)
    texts = batches(sequences, starts or [1] * len(sequences), reach=reach)
    return compare_logits(candidate, reference, sequences, starts=starts) | compare_ways(candidate, reference, texts)


def _answers(
    reference: LoadedModel,
    data: Benchmark,
    samples: Sequence[Sample],
    progress: Callable[[str, int], AbstractContextManager[Callable[[int], None]]],
) -> tuple[list[list[int]], list[int]]:
    """Return prompts with full precision's greedy answers, as tokens, and how many of them are the prompt's.

    Raises MeasurementError where the engine leaves an answer out.
    """
    answers: dict[str, str] = {}
    requests = [Request(sample_id=sample.id, epoch=0, text=data.prompt(sample)) for sample in samples]
    with progress(f"{reference.name} on {data.name}", len(requests)) as advance:

        def finished(generation: Generation) -> None:
            answers[generation.sample_id] = generation.text
            advance(1)

        config = GenerationConfig(max_new_tokens=data.max_new_tokens)
        registry.engines[ENGINE].generate(reference, requests, config, batch_size=BATCH_SIZE, finished=finished)
    if missing := [request.sample_id for request in requests if request.sample_id not in answers]:
        raise MeasurementError(
            f"the engine {ENGINE} left out {len(missing)} of full precision's {len(requests)} answers, such as"
            f" that to {missing[0]}: there is no text to compare predictions on"
        )
    prompts = {request.sample_id: render(reference, request.text, None) for request in requests}
    tokenize = reference.tokenizer
    starts = [len(tokenize(prompt, add_special_tokens=False)["input_ids"]) for prompt in prompts.values()]
    texts = [prompt + answers[id_] for id_, prompt in prompts.items()]
    return [tokenize(text, add_special_tokens=False)["input_ids"] for text in texts], starts
