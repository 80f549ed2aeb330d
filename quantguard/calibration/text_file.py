"""Plain text of one's own: ``source`` is the path of a UTF-8 file."""

import pathlib

from quantguard.errors import DataError, RecipeError
from quantguard.modeling import LoadedModel
from quantguard.records import CalibrationArgs


def token_sequences(loaded: LoadedModel, args: CalibrationArgs) -> list[list[int]]:
    """Cut the file into ``num_samples`` windows of ``max_length`` tokens, spread over all of it.

    Raises RecipeError without a source and DataError for a file that is absent, no text or too short.
    """
    if args.source is None:
        raise RecipeError('calibration set text-file reads a file: add source = "path/to/text.txt"')
    try:
        text = pathlib.Path(args.source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"calibration text {args.source} cannot be read: {error}") from error
    ids: list[int] = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    windows = len(ids) // args.max_length
    if windows < args.num_samples:
        raise DataError(
            f"{args.source} has {windows} windows of {args.max_length} tokens, and {args.num_samples} were asked for;"
            f" set num_samples to at most {windows}"
        )
    starts = [(i * windows // args.num_samples) * args.max_length for i in range(args.num_samples)]
    return [ids[start : start + args.max_length] for start in starts]
