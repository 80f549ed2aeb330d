"""vLLM or vLLM-Ascend in this process, where it is installed: offline batches of a checkpoint as it is.

The prompt is rendered here by the model's own chat template and handed over as tokens; vLLM schedules as it likes. More
than one device, or another machine: start its server, and use the engine ``openai``.
"""

import dataclasses
import functools
import importlib
import importlib.metadata
import importlib.util
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import transformers

from quantguard.engines._decoding import stop_ids
from quantguard.engines._prompting import Request, render, seed_of, words_of_tokenizer
from quantguard.errors import EngineError, UsageError
from quantguard.modeling.configuration import read_config
from quantguard.modeling.identity import configuration_facts
from quantguard.modeling.loading import find_folder, tokenizer_of, weights_sha256
from quantguard.records import Fingerprint, Generation, GenerationConfig, ModelIdentity, Question, Runtime

VERSION = "vllm/1"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Offline:
    """A checkpoint that vLLM runs in this process; it is loaded when it is first asked."""

    folder: pathlib.Path
    name: str
    tokenizer: Any
    platform: str
    engine: str = "vllm"
    recipe: None = None
    served: bool = True
    # vLLM puts its batches together by itself: so many requests are handed over at once.
    default_batch_size: int = 256
    notes: tuple[str, ...] = ()

    def kernels(self) -> dict[str, str]:
        """Return nothing: vLLM does not tell."""
        return {}

    def fingerprint(self, question: Question, *, batch_size: int) -> Fingerprint:
        """Return the bytes of the checkpoint, what it says of how it computes, and the prompt's template."""
        del batch_size
        ends = stop_ids(_generation_config(self.folder), self.tokenizer)
        return Fingerprint(
            question=dataclasses.replace(
                question, prompt=words_of_tokenizer(self.tokenizer), stop_ids=tuple(sorted(ends))
            ),
            model=ModelIdentity(
                weights=weights_sha256(self.folder),
                recipe="as-served",
                config=configuration_facts(read_config(self.folder)),
            ),
            runtime=Runtime(engine=VERSION),
        )

    def circumstances(self) -> dict[str, str]:
        """Return vLLM's version, and that of its plugin for Ascend where there is one."""
        return {name: version for name in ("vllm", "vllm-ascend") if (version := _version(name))}

    def generation_facts(self) -> dict[str, str]:
        """Return nothing: how a server generates is its own business."""
        return {}

    def generate(
        self,
        requests: Sequence[Request],
        config: GenerationConfig,
        *,
        batch_size: int,
        finished: Callable[[Generation], None],
    ) -> None:
        """Answer every request, ``batch_size`` handed over at once; raise EngineError where one is not answered."""
        for start in range(0, len(requests), batch_size):
            batch = requests[start : start + batch_size]
            for request, output in zip(batch, self._outputs(batch, config), strict=True):
                finished(_generation(request, output))

    def _outputs(self, batch: Sequence[Request], config: GenerationConfig) -> list[Any]:
        vllm = importlib.import_module("vllm")
        texts = [render(self, request.text, config.mode) for request in batch]
        prompts = [{"prompt_token_ids": ids} for ids in self.tokenizer(texts, add_special_tokens=False)["input_ids"]]
        sampling = [
            vllm.SamplingParams(
                max_tokens=config.max_new_tokens,
                temperature=config.temperature,
                top_p=config.top_p,
                seed=seed_of(request, config) >> 32,
            )
            for request in batch
        ]
        try:
            outputs: list[Any] = _load(str(self.folder)).generate(prompts, sampling, use_tqdm=False)
        except ValueError as error:
            raise EngineError(f"vLLM refuses a request to {self.name}: {error}") from error
        return outputs


def connect(model: str, *, url: str | None, tokenizer: Any = None) -> Offline:
    """Find the folder of a checkpoint that vLLM is to run.

    Raises UsageError for an address or a tokenizer, EngineError where vLLM is not installed and ModelError where there
    is no such model.
    """
    if url is not None or tokenizer is not None:
        raise UsageError("the engine vllm runs a checkpoint in this process, with its own tokenizer: leave both out")
    if importlib.util.find_spec("vllm") is None:
        raise EngineError(
            "the engine vllm needs vLLM. Type: pip install vllm, and vllm-ascend on an NPU; or start a server of it and"
            " give its address, endpoint='http://…/v1'"
        )
    folder = find_folder(model)
    device = importlib.import_module("vllm.platforms").current_platform.device_type
    return Offline(folder=folder, name=folder.name, tokenizer=tokenizer_of(model), platform=f"vllm-{device}")


def _generation_config(folder: pathlib.Path) -> Any:
    """Return what the folder says of generation; vLLM takes from it which tokens end an answer."""
    if (folder / "generation_config.json").is_file():
        return transformers.GenerationConfig.from_pretrained(folder)
    return transformers.GenerationConfig.from_model_config(read_config(folder))


def _generation(request: Request, output: Any) -> Generation:
    answer = output.outputs[0]
    if answer.finish_reason not in ("stop", "length"):
        raise EngineError(f"vLLM broke sample {request.sample_id} off: finish_reason {answer.finish_reason!r}")
    return Generation(
        sample_id=request.sample_id,
        epoch=request.epoch,
        text=answer.text,
        num_tokens=len(answer.token_ids),
        finish_reason=answer.finish_reason,
    )


@functools.lru_cache(maxsize=1)
def _load(folder: str) -> Any:
    return importlib.import_module("vllm").LLM(model=folder, seed=0)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
