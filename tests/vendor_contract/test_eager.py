"""The vendor's own host code, run on a runtime whose device memory is the host's: which operation, with which slots.

The operations do nothing there, so this says nothing of results: only of how our calls are passed on.
"""

import functools
import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from tests.support.vendor_calls import good
from tests.support.vendor_contract import genuine

genuine()

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE / "eager_calls.json"


@functools.cache
def seen() -> Any:
    folder = os.environ.get("QUANTGUARD_FAKE_ACL")
    assert folder or not os.environ.get("QUANTGUARD_NO_SKIPS")
    if folder is None:
        pytest.skip("needs the host-memory runtime: run nox -s vendor_contract")
    environment = os.environ | {
        "LD_LIBRARY_PATH": folder,
        "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
        "TASK_QUEUE_ENABLE": "0",
        "FAKE_ACL_LOG": str(pathlib.Path(folder, "asked.log")),
        "PYTHONPATH": str(HERE.parents[1]),
    }
    result = subprocess.run(
        [sys.executable, "-W", "ignore", HERE / "eager_calls.py"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout[result.stdout.index("{") :])


@pytest.mark.parametrize("function", good())
def test_the_vendor_passes_a_call_on_as_it_did_when_the_log_was_taken(function: str) -> None:
    assert seen()[function] == json.loads(GOLDEN.read_text())[function]


def test_the_offset_of_w4a8_arrives_in_the_slot_of_the_output_offset() -> None:
    # aclnnQuantMatmulV5(x1, x2, x1Scale, x2Scale, yScale, x1Offset, x2Offset, yOffset, bias, ..., out)
    asked = seen()["quant_matmul_w4a8"]["asked"]
    assert asked[0] == "aclnnQuantMatmulV5GetWorkspaceSize"
    assert "7: dtype 0 shape 64 stride 1" in asked


def test_eight_integers_are_packed_by_the_vendor_as_we_pack_them() -> None:
    assert seen()["convert_weight_to_int4pack"]["bits"] == "0x76543210"


def test_a_forgotten_offset_shows_in_the_log() -> None:
    faulty = [line.strip() for line in seen()["fault: the offset of W4A8 is forgotten"] if line]
    golden = json.loads(GOLDEN.read_text())["quant_matmul_w4a8"]["asked"]
    assert faulty[0] == golden[0]
    assert set(golden) - set(faulty) == {"7: dtype 0 shape 64 stride 1"}
