"""The only part that knows the whole flow: load, quantize, run, score, time, and hand the numbers to judgement."""

from quantguard.pipeline.evaluating import evaluate
from quantguard.pipeline.generation_store import GenerationStore
from quantguard.pipeline.opening import load
from quantguard.pipeline.quantizing import quantize
from quantguard.pipeline.rerun_store import RerunStore
from quantguard.pipeline.saving import quantize_to_folder
from quantguard.pipeline.serving import Service
from quantguard.pipeline.session import PipelineSession, RunState, open_session

__all__ = [
    "GenerationStore",
    "PipelineSession",
    "RerunStore",
    "RunState",
    "Service",
    "evaluate",
    "load",
    "open_session",
    "quantize",
    "quantize_to_folder",
]
