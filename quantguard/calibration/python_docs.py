"""Plain English that every Python has: the part of ``pydoc_data.topics`` that is not evaluated on."""

from quantguard.benchmarks.text_fidelity import calibration_text
from quantguard.calibration._windows import windows
from quantguard.modeling import LoadedModel
from quantguard.records import CalibrationArgs

RUNS_MODEL = False


def token_sequences(loaded: LoadedModel, args: CalibrationArgs) -> list[list[int]]:
    """Cut the text into ``num_samples`` windows of ``max_length`` tokens; raise DataError where it is too short."""
    return windows(loaded, calibration_text(), args, name="calibration set python-docs")
