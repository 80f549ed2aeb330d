"""Having requests answered, those that were answered before left out."""

from collections.abc import Sequence
from typing import Protocol

from quantguard.engines._prompting import Request
from quantguard.engines._subject import Subject
from quantguard.errors import MeasurementError
from quantguard.pipeline.generation_store import KeptAnswers, key_of
from quantguard.records import Generation, GenerationConfig


class Answered(Protocol):
    """Told what was just answered."""

    def __call__(self, generations: Sequence[Generation], *, resumed: bool = False) -> None:
        """Take it in; ``resumed`` answers were there before."""


def generate(
    subject: Subject,
    requests: Sequence[Request],
    config: GenerationConfig,
    *,
    batch_size: int,
    answered: Answered,
    kept: KeptAnswers | None,
    known: dict[str, Generation] | None = None,
) -> tuple[tuple[Generation, ...], str | None]:
    """Return the generations in the order of the requests, and what to say of those that were kept already.

    Those that are ``known``, by the names of their requests, are not asked for; new ones are added to them, and to
    those that are ``kept``, as they end; ``answered`` is told of all. Raises MeasurementError where the engine leaves
    one out or gives one twice, and what the engine raises.
    """
    asked = {(request.sample_id, request.epoch): request for request in requests}
    known = {} if known is None else known
    done = {key: known[name] for key, request in asked.items() if (name := key_of(request)) in known}
    num_known = len(done)
    if kept is not None:
        found = {key: kept.find(request) for key, request in asked.items() if key not in done}
        done |= {key: generation for key, generation in found.items() if generation is not None}
    resumed = len(done) - num_known
    answered(tuple(done.values()), resumed=True)

    def finished(generation: Generation) -> None:
        key = (generation.sample_id, generation.epoch)
        if key in done or key not in asked:
            raise MeasurementError(f"the engine {subject.engine} answered {key[0]} twice, or was not asked for it")
        done[key] = generation
        if kept is not None:
            kept.put(asked[key], generation)
        answered((generation,))

    missing = [request for key, request in asked.items() if key not in done]
    if missing:
        subject.generate(missing, config, batch_size=batch_size, finished=finished)
    if len(done) < len(asked):
        raise MeasurementError(
            f"the engine {subject.engine} left out {len(asked) - len(done)} of {len(missing)} answers"
        )
    known.update({key_of(request): done[key] for key, request in asked.items()})
    return tuple(done[key] for key in asked), _of_resuming(resumed, len(asked), kept)


def _of_resuming(resumed: int, total: int, kept: KeptAnswers | None) -> str | None:
    if kept is None or not resumed:
        return None
    return f"{resumed} of {total} answers are of a run that began at {kept.began:%Y-%m-%d %H:%M} UTC and was broken off"
