"""Calls in a fresh Python interpreter, so that a call that breaks its interpreter does no harm here.

A vendor's library may abort the process or hang while it is imported. No ``except`` catches that, and it must not end
the process that only asked whether the library works.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

DEFAULT_TIMEOUT_SECONDS = 180.0
# Libraries print to the same stream; the answer is the line with this prefix.
_MARK = "quantguard-answer:"
_CHILD = f"""
import importlib, json, sys
from quantguard.errors import QuantguardError
module, name, *arguments = sys.argv[1:]
try:
    answer = {{"value": getattr(importlib.import_module(module), name)(*arguments)}}
except QuantguardError as error:
    answer = {{"failure": str(error), "advises": True}}
print("\\n{_MARK}" + json.dumps(answer), flush=True)
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of a call.

    Attributes:
        value: What the function returned, as JSON values.
        failure: Why it returned nothing, in one line; absent if it returned.
        advises: Whether the failure is an error of quantguard's own, which says what to type.
    """

    value: Any = None
    failure: str | None = None
    advises: bool = False


def call(
    function: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
) -> Answer:
    """Call ``module:name`` with string arguments in a fresh interpreter, and return its value or its failure.

    ``environment`` is added to that of this process.
    """
    module, _, name = function.partition(":")
    # -P: a torch.py in the current folder must not be imported in place of the package.
    command = [sys.executable, "-P", "-c", _CHILD, module, name, *arguments]
    try:
        finished = subprocess.run(  # noqa: S603 - our own interpreter
            command,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(failure=f"no answer within {timeout_seconds:.0f} s")
    for line in finished.stdout.splitlines():
        if line.startswith(_MARK):
            return Answer(**json.loads(line.removeprefix(_MARK)))
    return Answer(failure=_cause(finished))


def _cause(finished: "subprocess.CompletedProcess[str]") -> str:
    """Name the exception or signal that ended the interpreter."""
    if finished.returncode < 0:
        return f"the process was ended by {signal.Signals(-finished.returncode).name}"
    # The exception is on the first line after the last traceback that is not indented.
    last = finished.stderr.rpartition("Traceback (most recent call last):")[2]
    for line in last.splitlines():
        if line.strip() and not line.startswith(" "):
            return line.strip()
    return f"the process ended with status {finished.returncode} and said nothing"
