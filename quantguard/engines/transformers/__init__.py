"""Generation in this process with transformers, of a model that is loaded."""

from quantguard.engines.transformers.generation import VERSION
from quantguard.engines.transformers.in_process import InProcess

__all__ = ["VERSION", "InProcess"]
