"""The frozen records that flow through quantguard, and their strict JSON form."""

from quantguard.records.checkpoint import Defect
from quantguard.records.codec import from_json, to_json
from quantguard.records.diagnosis import Diagnosis, Finding, MissingRequirement, Software
from quantguard.records.evaluation import FinishReason, Generation, GenerationConfig, RunRecord, Sample, Score
from quantguard.records.fingerprint import Difference, Fingerprint, ModelIdentity, Question, Runtime
from quantguard.records.judgement import OUTCOMES, Counterpart, Outcome, Verdict
from quantguard.records.layers import LayerError, LayerSketch
from quantguard.records.quantization import (
    CalibrationArgs,
    LayerArgs,
    LayerReport,
    Override,
    QuantArgs,
    Recipe,
    RotationArgs,
)
from quantguard.records.timing import TimedBlock

__all__ = [
    "OUTCOMES",
    "CalibrationArgs",
    "Counterpart",
    "Defect",
    "Diagnosis",
    "Difference",
    "Finding",
    "Fingerprint",
    "FinishReason",
    "Generation",
    "GenerationConfig",
    "LayerArgs",
    "LayerError",
    "LayerReport",
    "LayerSketch",
    "MissingRequirement",
    "ModelIdentity",
    "Outcome",
    "Override",
    "QuantArgs",
    "Question",
    "Recipe",
    "RotationArgs",
    "RunRecord",
    "Runtime",
    "Sample",
    "Score",
    "Software",
    "TimedBlock",
    "Verdict",
    "from_json",
    "to_json",
]
