"""Asked for Triton where there is none, the backend says so and what to type."""

import subprocess
import sys

import pytest

ASK = """
import sys
{before}
from quantguard.errors import KernelError
from quantguard.kernels import choose_backend
from quantguard.records import QuantArgs
try:
    choose_backend("int8_linear", QuantArgs(num_bits=8, strategy="channel"), requested="triton", device_type="cpu")
except KernelError as error:
    print(error)
"""
ABSENT = "sys.modules['triton'] = None"
# An empty package stands for a Triton that was built for other devices.
FOREIGN = "import types; m = types.ModuleType('triton'); m.__path__ = []; sys.modules['triton'] = m"
FOREIGN += "; b = types.ModuleType('triton.backends'); b.__path__ = []; sys.modules['triton.backends'] = b"


@pytest.mark.parametrize(
    ("before", "complaint"),
    [
        pytest.param(ABSENT, "needs Triton-Ascend", id="absent"),
        pytest.param(FOREIGN, "has no Ascend backend", id="another Triton"),
    ],
)
def test_the_backend_raises_with_what_to_type(before: str, complaint: str) -> None:
    command = [sys.executable, "-c", ASK.format(before=before)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert complaint in said
    assert "pip install --no-deps triton-ascend==3.2.0" in said
