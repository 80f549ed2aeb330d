"""The only part that knows the whole flow: load, quantize, run, score, time, and hand the numbers to judgement."""

from quantguard.pipeline.evaluating import evaluate
from quantguard.pipeline.generation_store import GenerationStore
from quantguard.pipeline.opening import load
from quantguard.pipeline.quantizing import quantize
from quantguard.pipeline.rerun_store import RerunStore
from quantguard.pipeline.saving import quantize_to_folder
from quantguard.pipeline.serving import Service, open_served
from quantguard.pipeline.session import PipelineSession, Settings, open_session

__all__ = [
    "GenerationStore",
    "PipelineSession",
    "RerunStore",
    "Service",
    "Settings",
    "evaluate",
    "load",
    "open_served",
    "open_session",
    "quantize",
    "quantize_to_folder",
]
