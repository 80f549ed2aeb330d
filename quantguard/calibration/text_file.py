"""Plain text of one's own: ``source`` is the path of a UTF-8 file."""

import pathlib

from quantguard.calibration._windows import windows
from quantguard.errors import DataError, RecipeError
from quantguard.modeling import LoadedModel
from quantguard.records import CalibrationArgs

RUNS_MODEL = False


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
    return windows(loaded, text, args, name=args.source)
