"""What readers, tokenizers and templates of others raise, told as a ModelError that names the file."""

import types

from quantguard.errors import ModelError, QuantguardError


class ErrorsToldAs:
    """Raise ModelError, which begins with ``told``, in the place of what the code in its ``with`` block raises.

    Those who wrote that code raise what they like on a damaged file, Exception itself among it, so no list of types
    would do. Nothing is kept from anybody: it always raises, and what was raised first is the cause.
    """

    def __init__(self, told: str) -> None:
        self._told = told

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: types.TracebackType | None
    ) -> None:
        """Raise ModelError for an error of others; let those of quantguard, and an interrupted run, pass."""
        if isinstance(error, Exception) and not isinstance(error, QuantguardError):
            kind = "" if type(error) is Exception else f"{type(error).__name__}: "
            raise ModelError(f"{self._told}: {kind}{error}") from error
