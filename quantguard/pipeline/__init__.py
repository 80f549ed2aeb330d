"""The only part that knows the whole flow: load, quantize, run, score, time, and hand the numbers to judgement."""

from quantguard.pipeline.evaluating import evaluate
from quantguard.pipeline.quantizing import quantize
from quantguard.pipeline.session import PipelineSession, Settings

__all__ = ["PipelineSession", "Settings", "evaluate", "quantize"]
