"""The display of a run while its answers come: how many there are, and what their scores amount to so far."""

import contextlib
from collections.abc import Iterator, Sequence

from quantguard.gates import Estimate
from quantguard.pipeline.progress import Advance, Progress
from quantguard.records import Score

# A share of the answers that is scored; less, and the display says how many the estimate is of.
_UP_TO_DATE = 0.9


class RunDisplay:
    """One display over everything that a gate has answered; ``estimate`` words the scores, absent where none can."""

    def __init__(self, advance: Advance, estimate: Estimate | None) -> None:
        self._advance, self._estimate = advance, estimate
        self._num_answered = 0
        self._scores: list[Score] = []

    def answered(self, count: int, *, resumed: bool = False) -> None:
        """Show that so many answers have come."""
        self._num_answered += count
        self._advance(count, self._note, resumed=resumed)

    def scored(self, score: Score) -> None:
        """Take in one more score, from whatever thread; the next answer shows it."""
        self._scores.append(score)

    def _note(self) -> str:
        # Scores may arrive meanwhile.
        scores: Sequence[Score] = tuple(self._scores)
        found = self._estimate(scores) if self._estimate is not None and scores else ""
        behind = len(scores) < _UP_TO_DATE * self._num_answered
        return f"{found} after {len(scores)}" if found and behind else found


@contextlib.contextmanager
def displaying(progress: Progress, label: str, total: int, estimate: Estimate | None = None) -> Iterator[RunDisplay]:
    """Show a run of ``total`` answers as long as the block lasts."""
    with progress(label, total) as advance:
        yield RunDisplay(advance, estimate)
