"""Tests of a model-written program: calls that a benchmark's tests make, or standard input and expected output.

Expected values never enter the program's process. Tests that call the program run in a second process, the examiner,
which sends each call as a question and gets plain data as the answer. Output is compared in this process.
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
# The time that tests take to prepare does not count against the program.
_TESTS_SECONDS = 600.0
_UNTESTABLE = "untestable"
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CallTests:
    """Tests that call a program, as Python source.

    In the tests, ``evaluated(text)`` is the value of an expression in the program's module.

    Attributes:
        targets: Maps each name that the tests call to an expression of the program, such as ``Solution().rotate``.
        tests: The tests.
        prelude: Source that runs before the tests in their module: what they need and the program does not provide.
    """

    targets: Mapping[str, str]
    tests: str
    prelude: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProgramResult:
    """How the tests of a program ended.

    The rules are ``passed``; ``failed``, a wrong result; ``error``, an exception, or the program exited; ``unfit``, a
    result that is not plain data; ``time-limit`` (processor time), ``wall-limit`` (waiting), ``memory-limit`` and
    ``output-limit``, where it was stopped. Not judged are ``killed``, ended from outside, as by a kernel that is out of
    memory; ``starved``, too little processor time; ``untestable``, tests that do not run, or pass arguments that cannot
    be sent.

    Attributes:
        rule: ``passed``, or the rule of the first test that did not pass.
        detail: What is known about it, in words.
    """

    rule: str
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Whether every test passed."""
        return self.rule == "passed"

    @property
    def judged(self) -> bool:
        """Whether the result says something about the program."""
        return self.rule not in HOST_RULES | {_UNTESTABLE}


def run_calls(
    isolation: Isolation, sources: Sequence[str], calls: CallTests, *, limits: Limits = _DEFAULT
) -> ProgramResult:
    """Run a program, whose sources share a module, and tests that call it.

    Tests do not see changes that a program makes to its arguments. Raises SandboxError if the sandbox does not start.
    """
    with start(isolation, "solution", limits) as solution, start(isolation, "examiner", _twice(limits)) as examiner:
        try:
            solution.wait_until_ready()
            examiner.wait_until_ready()
            # The tests come first: if they do not run, the program is not to blame, and its time has not begun.
            first = _first_question(examiner, calls)
            deadline = time.monotonic() + limits.patience_seconds
            _load(solution, sources, deadline)
            return _mediate(solution, examiner, first, deadline)
        except ProgramEndedError as error:
            return ProgramResult(rule=error.rule, detail=error.detail)


def _twice(limits: Limits) -> Limits:
    """Return the limits of an examiner, which holds all that a program may return, and the tests as well."""
    return dataclasses.replace(limits, cpu_seconds=2 * limits.cpu_seconds, memory_bytes=2 * limits.memory_bytes)


def _first_question(examiner: ConfinedProcess, calls: CallTests) -> bytes:
    """Return the tests' first question, before the program runs; raise ProgramEndedError if the tests do not run."""
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
    """Run the program's sources; raise ProgramEndedError if they raise, or do not end in time."""
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
    """Pass questions to the program and its answers, unread, to the tests, until the tests have a verdict.

    Raises ProgramEndedError if either process ends; the tests' process ends only over an answer that is too large.
    """
    while "request" in (message := json.loads(said)):
        solution.send(message["request"].encode(), deadline)
        examiner.send(solution.receive(deadline), deadline)
        said = examiner.receive(deadline)
    return ProgramResult(rule=message["verdict"], detail=message["detail"])


def run_inputs(
    isolation: Isolation, sources: Sequence[str], cases: Sequence[tuple[str, str]], *, limits: Limits = _DEFAULT
) -> ProgramResult:
    """Run a program, whose sources share a module, on each pair of input and expected output, until one fails.

    The limits hold for each run on its own. Output is compared by :func:`same_output`. Raises SandboxError if the
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

    White space around lines and around the whole is ignored, and lines of numbers are compared as numbers.
    """
    left, right = ([line.strip() for line in text.strip().split("\n")] for text in (output, expected))
    return len(left) == len(right) and all(
        one == other or _same_numbers(one.split(), other.split()) for one, other in zip(left, right, strict=True)
    )


def _same_numbers(left: list[str], right: list[str]) -> bool:
    """Tell whether words are the same numbers; ``1_000``, which Python would accept, is not a number in contests."""
    if len(left) != len(right) or not all(map(_NUMBER.fullmatch, [*left, *right])):
        return False
    with contextlib.suppress(decimal.InvalidOperation):
        return [decimal.Decimal(word) for word in left] == [decimal.Decimal(word) for word in right]
    return False
