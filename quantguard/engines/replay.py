"""Answers that were recorded before, by ``quantguard evaluate --output``: scored, compared and gated without the model.

A run on one machine can so be judged on another, and be scored again after a scorer has changed. The record keeps its
model, recipe, engine and platform; what it was not asked, or was asked under another decoding, is refused.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from quantguard import registry
from quantguard.engines._prompting import Request
from quantguard.errors import DataError, EngineError, UsageError
from quantguard.records import Fingerprint, Generation, GenerationConfig, Question, Recipe, RunRecord
from quantguard.records.record_file import read_record

VERSION = "replay/1"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A record that answers in the place of its model."""

    record: RunRecord
    path: str
    tokenizer: None = None
    engine: str = "replay"
    default_batch_size: int = 1

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.record.model

    @property
    def platform(self) -> str:
        """Where it ran."""
        return self.record.platform

    @property
    def recipe(self) -> Recipe | None:
        """How it was quantized."""
        return self.record.recipe

    @property
    def served(self) -> bool:
        """Tell whether quantization was the business of somebody else."""
        return self.record.served

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of it, with the file that it is from."""
        return (*self.record.notes, f"replayed from {self.path}")

    def kernels(self) -> dict[str, str]:
        """Return the kernels that ran."""
        return self.record.kernels

    def fingerprint(self, question: Question, *, batch_size: int) -> Fingerprint:
        """Return that of the record, its engine included, where data, decoding and scorer are those of today."""
        del batch_size
        stored = self.record.fingerprint
        asked = dataclasses.replace(
            stored.question, data=question.data, decoding=question.decoding, scorer=question.scorer
        )
        return dataclasses.replace(stored, question=asked)

    def circumstances(self) -> dict[str, str]:
        """Return what was recorded of the machine."""
        return self.record.recorded

    def generation_facts(self) -> dict[str, str]:
        """Return nothing: what was recorded of it is among the circumstances."""
        return {}

    def generate(
        self,
        requests: Sequence[Request],
        config: GenerationConfig,
        *,
        batch_size: int,
        finished: Callable[[Generation], None],
    ) -> None:
        """Hand out the recorded answers; raise EngineError where one is missing or was decoded otherwise."""
        del batch_size
        recorded = self.record.generation_config
        if recorded != config:
            raise EngineError(f"{self.path} was decoded by {recorded}, and {config} is asked for")
        answers = {(one.sample_id, one.epoch): one for one in self.record.generations}
        missing = [request for request in requests if (request.sample_id, request.epoch) not in answers]
        if missing:
            raise EngineError(
                f"{self.path} has no answer to {len(missing)} of {len(requests)} requests, such as sample"
                f" {missing[0].sample_id}: name its own items, or run the model"
            )
        for request in requests:
            finished(answers[request.sample_id, request.epoch])


def connect(model: str, *, url: str | None, tokenizer: Any = None) -> Recording:
    """Read the record in the file ``model``.

    Raises UsageError for an address or a tokenizer, RecordError for a file that is no record or was edited, and
    DataError for one without generated answers, or of other questions than the benchmark has today.
    """
    if url is not None or tokenizer is not None:
        raise UsageError("the engine replay reads a file: leave endpoint and tokenizer out")
    path = pathlib.Path(model)
    record = read_record(path)
    if not record.generations:
        raise DataError(f"{path} holds no generated answers to replay")
    if registry.benchmarks[record.benchmark].load().sha256 != record.fingerprint.question.data:
        raise DataError(f"{path} answers another version of {record.benchmark} than is here: run the model again")
    return Recording(record=record, path=str(path))
