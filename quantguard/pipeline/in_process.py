"""A model that was loaded here, as what answers."""

import dataclasses
import platform as host
from collections.abc import Callable, Sequence
from typing import Any

import torch

from quantguard import registry
from quantguard.engines._decoding import stop_ids
from quantguard.engines._prompting import Request, words_of_tokenizer
from quantguard.host import npu_software
from quantguard.modeling import LoadedModel
from quantguard.modeling.identity import configuration_facts
from quantguard.modeling.swapping import kernels_in_use
from quantguard.records import Fingerprint, Generation, GenerationConfig, ModelIdentity, Question, Recipe, Runtime

ENGINE = "transformers"


@dataclasses.dataclass(frozen=True, slots=True)
class InProcess:
    """A loaded model, quantized or not, that generates in this process."""

    loaded: LoadedModel
    engine: str = ENGINE
    served: bool = False
    default_batch_size: int = 256

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.loaded.name

    @property
    def recipe(self) -> Recipe | None:
        """How it was quantized; absent for full precision."""
        return self.loaded.recipe

    @property
    def tokenizer(self) -> Any:
        """What makes tokens of prompts."""
        return self.loaded.tokenizer

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of how it was made."""
        return self.loaded.notes

    @property
    def platform(self) -> str:
        """The family of an NPU, else the type of the device."""
        on_npu = self.loaded.device_type == "npu"
        return npu_software.installed_npu_software().platform() if on_npu else self.loaded.device_type

    def kernels(self) -> dict[str, str]:
        """Return the backend of every operation that has been replaced, with the number of layers."""
        return kernels_in_use(self.loaded.model)

    def fingerprint(self, question: Question, *, batch_size: int) -> Fingerprint:
        """Return the fingerprint of a run, with the prompts and ends of answers added to the question.

        Batch size and threads belong here only below float32: in float32 they do not change answers beyond the rare
        last bit, which the paired judgement takes as the noise that it is.
        """
        loaded = self.loaded
        exact = loaded.dtype == "float32"
        return Fingerprint(
            question=dataclasses.replace(
                question,
                prompt=words_of_tokenizer(loaded.tokenizer),
                stop_ids=tuple(sorted(stop_ids(loaded.model.generation_config, loaded.tokenizer))),
            ),
            model=ModelIdentity(
                weights=loaded.weights_sha256,
                recipe=loaded.recipe.fingerprint if loaded.recipe else "full-precision",
                calibration=loaded.calibration_sha256,
                config=configuration_facts(loaded.model.config),
            ),
            runtime=Runtime(
                engine=str(registry.engines[self.engine].VERSION),
                dtype=loaded.dtype,
                batch_size=None if exact else batch_size,
                threads=None if exact else torch.get_num_threads(),
            ),
        )

    def circumstances(self) -> dict[str, str]:
        """Return the machine, NPU, driver, CANN and torch_npu included, and the hash of the folder that was read."""
        return {
            "cpu": host.processor() or host.machine(),
            "device": self.loaded.device_type,
            "threads": str(torch.get_num_threads()),
            **({} if self.loaded.files_sha256 is None else {"files": self.loaded.files_sha256}),
            **({"calibration_items": " ".join(items)} if (items := self.loaded.calibration_items) else {}),
            **npu_software.installed_npu_software().facts(),
        }

    def generation_facts(self) -> dict[str, str]:
        """Return which of the engine's loops generates."""
        return {"generation_loop": registry.engines[self.engine].generation_loop(self.loaded)}

    def generate(
        self,
        requests: Sequence[Request],
        config: GenerationConfig,
        *,
        batch_size: int,
        finished: Callable[[Generation], None],
    ) -> None:
        """Answer every request; see the engine."""
        registry.engines[self.engine].generate(self.loaded, requests, config, batch_size=batch_size, finished=finished)
