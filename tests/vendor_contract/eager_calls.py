"""Make every right call on the host-memory runtime, and print as JSON which operation the vendor's host code asked."""

import json
import os
import pathlib
import sys
from typing import Any
from unittest import mock

import torch
import torch_npu

from quantguard.kernels.ascend import vendor
from tests.support.vendor_calls import good
from tests.support.vendor_contract import placed, shapes


def _without_offset(op: str, **given: Any) -> Any:
    return getattr(torch.ops.npu, op)(**{name: value for name, value in given.items() if name != "offset"})


def main() -> None:
    journal = pathlib.Path(os.environ["FAKE_ACL_LOG"])
    seen: dict[str, Any] = {}
    for function, arguments in good().items():
        on_device = placed(arguments, "npu")
        if function == "convert_weight_to_int4pack":
            # Its range is looked at by a reduction, which here is an operation that does nothing.
            packed = torch.ops.npu.npu_convert_weight_to_int4pack(
                weight=torch.arange(8, dtype=torch.int32)[None].to("npu")
            )
            seen[function] = {"returns": shapes(packed), "bits": hex(int(packed.cpu())), "asked": []}
            continue
        torch_npu.npu.synchronize()
        journal.write_text("")
        returned = getattr(vendor, function)(**on_device)
        torch_npu.npu.synchronize()
        lines = [line.strip() for line in journal.read_text().splitlines()]
        seen[function] = {"returns": shapes(returned), "asked": lines}
    # A planted fault: what the log looks like where the offset is forgotten.
    faulty = placed(good()["quant_matmul_w4a8"], "npu")
    journal.write_text("")
    with mock.patch.object(vendor, "_call", _without_offset):
        vendor.quant_matmul_w4a8(**faulty)
    seen["fault: the offset of W4A8 is forgotten"] = journal.read_text().split("\n")
    json.dump(seen, sys.stdout, indent=1)


main()
