"""Whether Triton-Ascend is there, and what to type where it is not."""

import importlib
import importlib.util

from quantguard.errors import KernelError

VERSION = "3.2.0"
INSTALL = f"pip install pybind11 && pip install --no-deps triton-ascend=={VERSION}"


def require() -> None:
    """Import Triton; raise KernelError where it is absent, does not load, or is not the one for Ascend."""
    try:
        importlib.import_module("triton")
    except ImportError as error:
        raise KernelError(f"the 'triton' backend needs Triton-Ascend, and {error}. Type: {INSTALL}") from error
    if importlib.util.find_spec("triton.backends.ascend") is None:
        raise KernelError(
            "the 'triton' backend needs Triton-Ascend; the triton that is installed has no Ascend backend. In an"
            f" environment of its own, type: {INSTALL}"
        )
