"""The only part that knows the whole flow: load, quantize, run, score, time, and hand the numbers to judgement."""

from quantguard.pipeline.evaluating import evaluate
from quantguard.pipeline.opening import load
from quantguard.pipeline.quantizing import quantize
from quantguard.pipeline.saving import quantize_to_folder
from quantguard.pipeline.session import PipelineSession, Settings

__all__ = ["PipelineSession", "Settings", "evaluate", "load", "quantize", "quantize_to_folder"]
