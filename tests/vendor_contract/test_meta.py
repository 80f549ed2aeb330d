"""Every call of ours through the vendor's own schemas and meta kernels, right ones and wrong ones."""

from typing import Any

import pytest
import torch

from quantguard.errors import KernelError
from quantguard.kernels.ascend import vendor
from quantguard.kernels.ascend.emulation import enable
from quantguard.kernels.ascend.schemas import SCHEMAS
from tests.support.vendor_calls import ACCEPTED_BY_THE_VENDOR, REFUSED_BY_THE_VENDOR, good
from tests.support.vendor_contract import genuine, placed, shapes, without_our_checks

torch_npu = genuine()

# The vendor has no meta kernel for it; it packs on the host (test_eager.py).
WITHOUT_META = {"convert_weight_to_int4pack"}
FUNCTIONS = [name for name in good() if name not in WITHOUT_META]
# Wrong calls that are about values or about what our own function hands on; a meta kernel sees neither.
OF_VALUES = {"int4 out of range"}
# Wrong calls that this release's meta kernels do refuse.
CLOSED = {"a channel scale for W4A8 in groups of 128", "no offset in W4A8, an empty one"}
HOLES = [name for name in ACCEPTED_BY_THE_VENDOR if name not in OF_VALUES | CLOSED]


def call(function: str, arguments: dict[str, Any]) -> Any:
    return getattr(vendor, function)(**arguments)


def test_the_release_is_the_one_that_the_schemas_are_from() -> None:
    assert torch_npu.__version__.startswith("2.13.0")


@pytest.mark.parametrize("op", SCHEMAS)
def test_the_schemas_are_word_for_word_the_vendors(op: str) -> None:
    genuine_schema = str(getattr(torch.ops.npu, op).default._schema)
    ours = torch._C.parse_schema(f"npu::{SCHEMAS[op]}")
    assert str(ours) == genuine_schema


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_right_call_is_accepted_and_returns_what_the_emulation_does(function: str) -> None:
    arguments = good()[function]
    found = shapes(call(function, placed(arguments, "meta")))
    enable()
    assert shapes(call(function, arguments)) == found


@pytest.mark.parametrize("name", REFUSED_BY_THE_VENDOR)
def test_a_wrong_call_is_refused_by_the_vendor_and_by_us(name: str) -> None:
    function, changes = REFUSED_BY_THE_VENDOR[name]
    arguments = placed(good()[function] | changes, "meta")
    with without_our_checks(), pytest.raises(RuntimeError):
        call(function, arguments)
    with pytest.raises(KernelError):
        call(function, arguments)


def test_w4a8_without_its_offset_is_accepted_by_the_vendor_and_cannot_be_asked_of_us() -> None:
    arguments = placed(good()["quant_matmul_w4a8"], "meta")
    del arguments["offset"]
    torch.ops.npu.npu_quant_matmul(
        x1=arguments["x"],
        x2=arguments["packed"],
        scale=arguments["scale"],
        pertoken_scale=arguments["pertoken_scale"],
        output_dtype=torch.float16,
    )
    with pytest.raises(TypeError, match="offset"):
        call("quant_matmul_w4a8", arguments)


@pytest.mark.parametrize("name", HOLES)
def test_a_hole_of_the_vendors_checks_is_caught_by_ours(name: str) -> None:
    function, changes = ACCEPTED_BY_THE_VENDOR[name]
    arguments = placed(good()[function] | changes, "meta")
    with without_our_checks():
        call(function, arguments)
    with pytest.raises(KernelError):
        call(function, arguments)
