"""Plain English that every Python has: the part of ``pydoc_data.topics`` that is not evaluated on."""

from quantguard.benchmarks.text_fidelity import calibration_text
from quantguard.errors import DataError
from quantguard.modeling import LoadedModel
from quantguard.records import CalibrationArgs


def token_sequences(loaded: LoadedModel, args: CalibrationArgs) -> list[list[int]]:
    """Cut the text into ``num_samples`` windows of ``max_length`` tokens; raise DataError where it is too short."""
    ids: list[int] = loaded.tokenizer(calibration_text(), add_special_tokens=False)["input_ids"]
    windows = len(ids) // args.max_length
    if windows < args.num_samples:
        raise DataError(
            f"calibration set python-docs has {windows} windows of {args.max_length} tokens, and {args.num_samples}"
            f" were asked for; set num_samples to at most {windows}"
        )
    starts = [(i * windows // args.num_samples) * args.max_length for i in range(args.num_samples)]
    return [ids[start : start + args.max_length] for start in starts]
