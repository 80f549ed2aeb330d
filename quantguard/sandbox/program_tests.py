"""Running a program against tests: calls that a benchmark's tests make, or standard input and expected output.

Expected values never enter the process of the program. Tests that call it run in a second process, the examiner, to
which a call is a question whose answer is plain data; output is compared here.
"""

import contextlib
import dataclasses
import decimal
import json
import re
import time
from collections.abc import Mapping, Sequence

from quantguard.sandbox.confined_process import HOST_RULES, ConfinedProcess, ProgramEndedError
from quantguard.sandbox.launcher import Isolation, start
from quantguard.sandbox.limits import Limits

_DEFAULT = Limits()
# What tests prepare is no part of what a program may take.
_TESTS_SECONDS = 600.0
_UNTESTABLE = "untestable"
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CallTests:
    """Tests that call a program, as Python source.

    ``targets`` maps names that the tests call to expressions of the program, such as ``Solution().rotate``. ``prelude``
    is run before the tests, and beside them: what they need and the program has not to provide. In the tests
    ``evaluated(text)`` is the value of an expression in the program's module.
    """

    targets: Mapping[str, str]
    tests: str
    prelude: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProgramResult:
    """How tests ended: by the rule ``passed``, or else by the first that was not met, with what is known of it.

    ``failed``: a wrong result. ``error``: an exception, or the program ended by itself. ``unfit``: a result that is no
    plain data. ``time-limit``, of processor time, ``wall-limit``, of waiting, ``memory-limit``, ``output-limit``: it
    was stopped. What could not be judged: ``killed``, it was ended from outside, as by a kernel without memory;
    ``starved``, it was kept from the processor; ``untestable``, the tests do not run, or ask what cannot be carried.
    """

    rule: str
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Tell whether every test was met."""
        return self.rule == "passed"

    @property
    def judged(self) -> bool:
        """Tell whether it says something of the program."""
        return self.rule not in HOST_RULES | {_UNTESTABLE}


def run_calls(
    isolation: Isolation, sources: Sequence[str], calls: CallTests, *, limits: Limits = _DEFAULT
) -> ProgramResult:
    """Run a program, whose sources share a module, and tests that call it.

    Tests do not see what a program changes in its arguments. Raises SandboxError where the sandbox does not start.
    """
    with start(isolation, "solution", limits) as solution, start(isolation, "examiner", _twice(limits)) as examiner:
        try:
            solution.wait_until_ready()
            examiner.wait_until_ready()
            first = _first_question(examiner, calls)
            deadline = time.monotonic() + limits.patience_seconds
            _load(solution, sources, deadline)
            return _mediate(solution, examiner, first, deadline)
        except ProgramEndedError as error:
            return ProgramResult(rule=error.rule, detail=error.detail)


def _twice(limits: Limits) -> Limits:
    """Return the limits of an examiner, who takes in what a program may answer, and has the tests besides."""
    return dataclasses.replace(limits, cpu_seconds=2 * limits.cpu_seconds, memory_bytes=2 * limits.memory_bytes)


def _first_question(examiner: ConfinedProcess, calls: CallTests) -> bytes:
    """Return what the tests ask first, before the program has had a say; raise ProgramEndedError where they do not run."""
    job = {"prelude": calls.prelude, "tests": calls.tests, "targets": dict(calls.targets)}
    deadline = time.monotonic() + _TESTS_SECONDS
    try:
        examiner.send(json.dumps(job).encode(), deadline)
        said = examiner.receive(deadline)
    except ProgramEndedError as error:
        if error.rule in HOST_RULES:
            raise
        raise ProgramEndedError(_UNTESTABLE, f"the tests do not run: {error.detail}") from error
    if "request" not in (message := json.loads(said)):
        raise ProgramEndedError(
            _UNTESTABLE, f"the tests ask the program nothing: {message['detail'] or message['verdict']}"
        )
    return said


def _load(solution: ConfinedProcess, sources: Sequence[str], deadline: float) -> None:
    """Run the program itself; raise ProgramEndedError where it raises, or does not come to an end."""
    solution.send(json.dumps(list(sources)).encode(), deadline)
    for _ in sources:
        said = solution.receive(deadline)
        if said != b'{"value": null}':
            raise _load_error(said)


def _load_error(said: bytes) -> ProgramEndedError:
    try:
        table = json.loads(said)
        name, message = str(table["raised"]), str(table["message"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return ProgramEndedError("error", "it answered before it was asked")
    return ProgramEndedError("memory-limit" if name == "MemoryError" else "error", f"{name}: {message}")


def _mediate(solution: ConfinedProcess, examiner: ConfinedProcess, said: bytes, deadline: float) -> ProgramResult:
    """Carry questions to the program and its answers, unread, to the tests until they have a verdict.

    Raises ProgramEndedError where either ends: the tests do so only over an answer that is too much for them.
    """
    while "request" in (message := json.loads(said)):
        solution.send(message["request"].encode(), deadline)
        examiner.send(solution.receive(deadline), deadline)
        said = examiner.receive(deadline)
    return ProgramResult(rule=message["verdict"], detail=message["detail"])


def run_inputs(
    isolation: Isolation, sources: Sequence[str], cases: Sequence[tuple[str, str]], *, limits: Limits = _DEFAULT
) -> ProgramResult:
    """Run a program, whose sources share a module, for each pair of input and expected output, until it fails one.

    Each run has the limits to itself. Output is compared as :func:`same_output` says. Raises SandboxError where the
    sandbox does not start.
    """
    for number, (text, expected) in enumerate(cases, 1):
        with start(isolation, "program", limits, text=text.encode(errors="surrogatepass")) as child:
            try:
                child.wait_until_ready()
                deadline = time.monotonic() + limits.patience_seconds
                child.send(json.dumps(list(sources)).encode(), deadline)
                output = child.printed(deadline)
            except ProgramEndedError as error:
                return ProgramResult(rule=error.rule, detail=f"test {number}: {error.detail}")
        if not same_output(output.decode(errors="surrogateescape"), expected):
            return ProgramResult(rule="failed", detail=f"test {number}: another output")
    return ProgramResult(rule="passed")


def same_output(output: str, expected: str) -> bool:
    """Tell whether two outputs are the same, line by line, as LiveCodeBench compares them.

    White space around a line and around the whole does not count, and lines of numbers are compared as numbers.
    """
    left, right = ([line.strip() for line in text.strip().split("\n")] for text in (output, expected))
    return len(left) == len(right) and all(
        one == other or _same_numbers(one.split(), other.split()) for one, other in zip(left, right, strict=True)
    )


def _same_numbers(left: list[str], right: list[str]) -> bool:
    """Tell whether words are the same numbers; ``1_000``, which Python reads as well, is none of a contest."""
    if len(left) != len(right) or not all(map(_NUMBER.fullmatch, [*left, *right])):
        return False
    with contextlib.suppress(decimal.InvalidOperation):
        return [decimal.Decimal(word) for word in left] == [decimal.Decimal(word) for word in right]
    return False
