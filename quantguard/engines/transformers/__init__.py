"""Generation in this process with transformers, of a model that is loaded."""

from typing import Any

from quantguard.engines.transformers.generation import VERSION, generate
from quantguard.engines.transformers.in_process import ENGINE, InProcess
from quantguard.errors import UsageError
from quantguard.modeling import LoadedModel

__all__ = ["ENGINE", "VERSION", "InProcess", "connect", "generate"]


def connect(model: str | LoadedModel, *, url: str | None = None, tokenizer: Any = None) -> InProcess:
    """Return a loaded model as what answers.

    Raises UsageError for a name, an address or a tokenizer: a model of this process is loaded first, with its own.
    """
    if isinstance(model, str) or url is not None or tokenizer is not None:
        raise UsageError(f"the engine {ENGINE} runs models of this process: leave engine and endpoint out")
    return InProcess(model)
