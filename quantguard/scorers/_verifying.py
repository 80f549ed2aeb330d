"""math-verify in a process of its own, which is killed where an answer keeps it busy for too long.

It guards itself by SIGALRM, which works on a main thread alone and not within a long call of SymPy.
"""

import atexit
import functools
import importlib.metadata
import json
import selectors
import subprocess
import sys

from quantguard.errors import MeasurementError

MATH_VERIFY = "0.9.0"
_SECONDS = 20
_START_SECONDS = 120
_WORK = r"""
import json, sys
from math_verify import parse, verify

def same(answer, target):
    gold, found = parse("$" + target + "$"), parse("\\boxed{" + answer + "}")
    return bool(gold) and bool(found) and verify(gold, found)

print("ready" if same("0.5", "1/2") and not same("2", "3") else "unfit", flush=True)
for line in sys.stdin:
    print(json.dumps(same(*json.loads(line))), flush=True)
"""


def same_mathematics(answer: str, target: str) -> bool | None:
    """Tell whether math-verify takes two pieces of LaTeX for equal; None where it did not finish, or died of them.

    The next process has to prove itself on a pair that is known, so that what is wrong with math-verify itself raises.
    Raises MeasurementError where it is not installed in the version that scores belong to, or cannot run.
    """
    worker = _worker()
    worker.ask(json.dumps([answer, target]))
    said = worker.answer(_SECONDS)
    if said is not None:
        return bool(json.loads(said))
    worker.kill()
    _worker.cache_clear()
    return None


@functools.cache
def _worker() -> "_Worker":
    try:
        version = importlib.metadata.version("math-verify")
    except importlib.metadata.PackageNotFoundError:
        version = "not installed"
    if version != MATH_VERIFY:
        raise MeasurementError(
            f"scores of mathematics are those of math-verify {MATH_VERIFY}, and here it is {version}. Type: pip install"
            " 'quantguard[math]'"
        )
    worker = _Worker()
    atexit.register(worker.kill)
    if worker.answer(_START_SECONDS) != "ready":
        worker.kill()
        raise MeasurementError("math-verify does not start. Type: python -c 'import math_verify' to see why")
    return worker


class _Worker:
    """A process that is asked a line at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-P", "-c", _WORK],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )
        self._ready = selectors.DefaultSelector()
        assert self._process.stdout is not None
        self._ready.register(self._process.stdout, selectors.EVENT_READ)

    def ask(self, line: str) -> None:
        """Send a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def answer(self, seconds: float) -> str | None:
        """Return the next line, or None where there is none in time, or none any more."""
        if not self._ready.select(timeout=seconds):
            return None
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip() or None

    def kill(self) -> None:
        """End the process whatever it does."""
        self._process.kill()
        self._process.communicate()
        self._ready.close()
