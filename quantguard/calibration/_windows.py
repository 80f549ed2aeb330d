"""Cutting one long text into calibration windows."""

from quantguard.errors import DataError
from quantguard.modeling import LoadedModel
from quantguard.records import CalibrationArgs


def windows(loaded: LoadedModel, text: str, args: CalibrationArgs, *, name: str) -> list[list[int]]:
    """Cut a text into ``num_samples`` windows of ``max_length`` tokens, spread over all of it.

    Raises DataError, calling the text by ``name``, where it is too short.
    """
    ids: list[int] = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    count = len(ids) // args.max_length
    if count < args.num_samples:
        raise DataError(
            f"{name} has {count} windows of {args.max_length} tokens, and {args.num_samples} were asked for;"
            f" set num_samples to at most {count}"
        )
    starts = [(i * count // args.num_samples) * args.max_length for i in range(args.num_samples)]
    return [ids[start : start + args.max_length] for start in starts]
