"""What the two models of a latency gate took, one block of timings after the other."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TimedBlock:
    """Four timings in a row, A B B A: full precision first and last, the candidate twice between; seconds a call.

    A drift of the machine's speed that is linear within a block falls on both models alike.
    """

    reference_seconds: tuple[float, float]
    candidate_seconds: tuple[float, float]

    @property
    def log_speedup(self) -> float:
        """The log of full precision's time over the candidate's, each the geometric mean of its two."""
        return (_sum_of_logs(self.reference_seconds) - _sum_of_logs(self.candidate_seconds)) / 2

    @property
    def log_repeat(self) -> float:
        """The log of full precision's second time over its first: what two timings of one thing differ by."""
        return math.log(self.reference_seconds[1] / self.reference_seconds[0])


def _sum_of_logs(seconds: tuple[float, float]) -> float:
    return math.log(seconds[0]) + math.log(seconds[1])
