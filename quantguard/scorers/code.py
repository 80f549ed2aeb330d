"""Score the program after the thinking part by a benchmark's tests: 1.0 where every one is met.

The program is the last block between fences that defines what the tests call, or else the last of Python. It runs in
the sandbox (``quantguard.sandbox``), where neither tests nor expected values are. The rule that decided is in
``Score.explanation``: ``passed``; ``failed``, a wrong result; ``error``, an exception or an early end; ``unfit``, a
result that is no plain data; ``time-limit``, of processor time, so that no load decides, ``wall-limit``, of what only
waits, ``memory-limit`` or ``output-limit``; ``unparsed``, no block after the thinking; ``truncated``, where the limit
of tokens came first. Not judged at all is what this machine or the tests ended: ``killed``, ``starved``,
``untestable``.

What a sample's metadata says: ``tests``, source that calls ``targets`` (a name: an expression in the program's module),
``prelude``, what the tests need, ``before`` and ``behind``, what runs around the program, ``opening``, the start of a
function of which an answer may be the rest; or ``cases`` of inputs and outputs, more of them packed in
``packed_cases``, of a function where ``function`` names one and of a whole program where it does not.
"""

import json
from typing import Any

from quantguard import sandbox
from quantguard.errors import DataError
from quantguard.records import Generation, Sample, Score
from quantguard.sandbox import CallTests, Limits, ProgramResult
from quantguard.scorers._code_blocks import as_body, defines, last_program
from quantguard.scorers._reasoning_text import after_thinking
from quantguard.scorers._test_cases import ProgramCase, unpack

VERSION = "code/2"
# Programs run in processes of their own, so that a thread for each core scores.
PARALLEL = True

_CALL_LIMITS = Limits(cpu_seconds=10)
# LiveCodeBench gives each test 6 seconds; one process answers all calls of a function.
_CASE_LIMITS = Limits(cpu_seconds=6)
_FUNCTION_LIMITS = Limits(cpu_seconds=60)
_CASE_PRELUDE = """
import json
def read(cases):
    for text, output in json.loads(cases):
        yield [json.loads(line) for line in text.split("\\n")], json.loads(output)
def check(cases, call):
    # All of them, before the program is asked anything.
    for arguments, expected in list(read(cases)):
        result = call(*arguments)
        # As LiveCodeBench does, since JSON knows no tuples.
        assert (list(result) if type(result) is tuple else result) == expected
"""


def variant() -> str:
    """Return what scores depend on besides the version: how programs are isolated, ``bubblewrap`` or ``unsafe``."""
    return sandbox.isolation().kind


def recorded() -> dict[str, str]:
    """Return what a record keeps of how programs were run."""
    return {"sandbox": sandbox.isolation().name}


def score(sample: Sample, generation: Generation) -> Score:
    """Return 1.0 for a program that meets every test, none where it could not be judged and 0.0 for anything else.

    Raises SandboxError where programs cannot be run here, and DataError for a sample without tests.
    """
    program, outcome = None, ProgramResult(rule="truncated")
    if generation.finish_reason != "length":
        program = last_program(after_thinking(generation.text), _names(sample.metadata))
        outcome = ProgramResult(rule="unparsed") if program is None else run(sample, program)
    return Score(
        sample_id=sample.id,
        epoch=generation.epoch,
        value=float(outcome.passed) if outcome.judged else None,
        answer=program,
        explanation=outcome.rule,
        num_tokens=generation.num_tokens,
        finish_reason=generation.finish_reason,
    )


def run(sample: Sample, program: str) -> ProgramResult:
    """Run a program against the tests of a sample; see :func:`score` for what is raised."""
    facts, isolation = sample.metadata, sandbox.isolation()
    sources = [part for part in (facts.get("before"), _whole(facts, program), facts.get("behind")) if part]
    if "tests" in facts:
        calls = CallTests(targets=facts["targets"], tests=facts["tests"], prelude=facts.get("prelude", ""))
        return sandbox.run_calls(isolation, sources, calls, limits=_CALL_LIMITS)
    cases = cases_of(sample)
    if facts.get("function") is None:
        return sandbox.run_inputs(isolation, sources, cases, limits=_CASE_LIMITS)
    return sandbox.run_calls(isolation, sources, _as_calls(sample, cases), limits=_FUNCTION_LIMITS)


def cases_of(sample: Sample) -> list[ProgramCase]:
    """Unpack the cases of a sample; raise DataError where they are damaged, or there is none."""
    packed = [sample.metadata[name] for name in ("cases", "packed_cases") if sample.metadata.get(name)]
    cases = [case for text in packed for case in unpack(text, where=sample.id)]
    if not cases:
        raise DataError(f"sample {sample.id} has no tests to score by")
    return cases


def _names(facts: dict[str, Any]) -> list[str]:
    """Return what a program is to define, so that its block is told from an example of its use."""
    targets = [*facts.get("targets", {}).values(), *([facts["function"]] if facts.get("function") else [])]
    return [target.partition("(")[0] for target in targets]


def _whole(facts: dict[str, Any], program: str) -> str:
    """Put the start of the function before an answer that is only the rest of it."""
    opening = facts.get("opening")
    if opening is None or any(defines(program, name) for name in _names(facts)):
        return program
    return str(opening) + as_body(program)


def _as_calls(sample: Sample, cases: list[ProgramCase]) -> CallTests:
    return CallTests(
        targets={"call": sample.metadata["function"]},
        tests=f"check({json.dumps(cases)!r}, call)",
        prelude=_CASE_PRELUDE,
    )
