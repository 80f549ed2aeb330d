"""The NPUs that a process may see: ``ASCEND_RT_VISIBLE_DEVICES``, which the vendor's runtime reads when it starts.

Leases go by the ids in it. ``npu:0`` is the first of them, so it may be another NPU in another environment.
"""

import re
from collections.abc import Mapping

from quantguard.errors import UsageError

VARIABLE = "ASCEND_RT_VISIBLE_DEVICES"


def visible_ids(environment: Mapping[str, str]) -> tuple[int, ...] | None:
    """Return the NPUs that an environment restricts its processes to, or None if it does not restrict them.

    Raises UsageError for anything but a list of different ids, which the runtime might silently cut short.
    """
    text = environment.get(VARIABLE)
    if text is None:
        return None
    ids = tuple(map(int, text.split(","))) if re.fullmatch(r"\d+(,\d+)*", text, flags=re.ASCII) else ()
    if not ids or len(set(ids)) != len(ids):
        raise UsageError(f"{VARIABLE}={text!r} is no list of different NPUs such as 0,1,2. Correct it, or unset it")
    return ids


def physical_id(index: int, environment: Mapping[str, str]) -> int:
    """Return the id of ``npu:<index>``; raise UsageError if the environment shows fewer NPUs."""
    ids = visible_ids(environment)
    if ids is None:
        return index
    if index >= len(ids):
        raise UsageError(f"npu:{index} is not visible: {VARIABLE} lists {len(ids)} NPUs. Use npu:0, or list more")
    return ids[index]
