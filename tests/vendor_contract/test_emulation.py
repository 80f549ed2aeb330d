"""Our emulated kernels under the vendor's schemas, held against its meta kernels by torch.library.opcheck."""

from typing import Any

import pytest
import torch
from torch.testing._internal.optests.generate_tests import OpCheckError

from quantguard.kernels.ascend import vendor
from quantguard.kernels.ascend.emulation import KERNELS, enable
from tests.support.vendor_calls import good
from tests.support.vendor_contract import genuine

genuine()

WITHOUT_META = {"convert_weight_to_int4pack"}


def recorded(function: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, Any]]:
    """Return the operation and the arguments that a right call comes to."""
    calls: list[tuple[str, dict[str, Any]]] = []
    plain = vendor._call

    def record(op: str, **arguments: Any) -> Any:
        calls.append((op, arguments))
        return plain(op, **arguments)

    monkeypatch.setattr(vendor, "_call", record)
    getattr(vendor, function)(**good()[function])
    return calls[-1]


@pytest.mark.parametrize("function", good())
def test_an_emulated_kernel_keeps_the_vendors_schema_and_shapes(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    enable()
    op, arguments = recorded(function, monkeypatch)
    checks = ("test_schema",) if function in WITHOUT_META else ("test_schema", "test_faketensor")
    torch.library.opcheck(getattr(torch.ops.npu, op).default, (), arguments, test_utils=checks)


def test_a_kernel_of_the_wrong_type_is_caught() -> None:
    library = torch.library.Library("quantguard_planted", "DEF")
    library.define(
        "quantize(Tensor input, Tensor scales, Tensor? zero_points, int dtype, int axis, bool div_mode) -> Tensor"
    )
    library.impl("quantize", lambda x, *rest: KERNELS["npu_quantize"](x, *rest).float(), "CPU")
    library.impl(
        "quantize", lambda x, *_rest: torch.ops.npu.npu_quantize(x, torch.empty(1, device="meta"), None, 12), "Meta"
    )
    arguments = (torch.ones(2, 8).half(), torch.ones(1), None, 12, 1, True)
    with pytest.raises(OpCheckError):
        torch.library.opcheck(torch.ops.quantguard_planted.quantize.default, arguments, test_utils="test_faketensor")
