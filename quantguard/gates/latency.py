"""``@quantguard.latency``: the quantized model is fast enough, compared with full precision in the same run."""

import dataclasses
from typing import Final, Literal

from quantguard import devices
from quantguard.errors import UsageError
from quantguard.gates import GateResult, Session, result_of
from quantguard.records import TimedBlock, Verdict
from quantguard.verdict import judge_speedup

LIMIT: Final = "floor"
# Blocks are added until the verdict is clear or the last of these is spent.
BLOCK_BUDGETS = (30, 60, 120, 240)
# Shared out over the looks, so that looking more than once makes no wrong verdict likelier.
LEVEL = 0.05 / len(BLOCK_BUDGETS)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The keywords of the marker."""

    stage: Literal["prefill", "decode"] = "prefill"
    """What is timed: reading a prompt, or adding one token behind it."""
    min_speedup: float
    """Full precision's time over the candidate's, a ratio such as 1.5."""
    num_tokens: int = 256
    """The tokens of the prompt."""

    def __post_init__(self) -> None:
        if self.stage not in ("prefill", "decode"):
            raise UsageError(f"latency(stage={self.stage!r}): possible are 'prefill' and 'decode'")
        if not 0 < self.min_speedup < 1000:
            raise UsageError(f"latency(min_speedup={self.min_speedup!r}): a ratio such as 1.5 is wanted")
        if self.num_tokens < 1:
            raise UsageError(f"latency(num_tokens={self.num_tokens}): the prompt has at least one token")


def check(gate: Gate, session: Session) -> GateResult:
    """Time both models in turn until the bounds of the speed-up decide or the budget is spent.

    Raises UsageError on an emulated device, whose time says nothing of the device's.
    """
    if devices.is_emulated(session.candidate.platform):
        raise UsageError(
            f"a latency gate on {session.candidate.platform} would time the emulation; run it on an NPU, or on the CPU"
        )
    verdict, blocks = decide(gate, session)
    subject = f"{gate.stage} {'of' if gate.stage == 'prefill' else 'after'} {gate.num_tokens} tokens"
    return dataclasses.replace(result_of("latency", session.candidate, subject, verdict), timings=blocks)


def decide(gate: Gate, session: Session) -> tuple[Verdict, tuple[TimedBlock, ...]]:
    """Time blocks until a look at all of them is clear; return the verdict of the last look, and the blocks.

    A machine that is unsteady at first has the rest of the budget to come to rest.
    """
    blocks: list[TimedBlock] = []
    with session.measure("timing", gate="latency", stage=gate.stage, num_tokens=gate.num_tokens) as time_blocks:
        for budget in BLOCK_BUDGETS:
            blocks += time_blocks(budget - len(blocks))
            verdict = judge_speedup(
                blocks,
                minimum=gate.min_speedup,
                metric=f"{gate.stage} speed-up",
                alpha=LEVEL,
            )
            if verdict.outcome in ("PASS", "REGRESSED"):
                break
    return verdict, tuple(blocks)
