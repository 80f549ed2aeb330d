"""How much a model differs from itself: the flip rate between two runs of it, beside its baseline.

The file ends with ``.noise`` and not with ``.json``, so that whoever reads every baseline of a folder never meets it.
"""

import dataclasses
import pathlib

from quantguard.errors import BaselineError, RecordError
from quantguard.records import Fingerprint
from quantguard.records.sealed_file import SealedFile


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Two runs of one model on the same items.

    Attributes:
        num_items: How many items were judged in both runs.
        num_flips: How many of them changed between right and wrong.
        varied: What was different between the runs, such as their order.
        on: The day, ISO, UTC.
        fingerprint: That of both runs.
    """

    num_items: int
    num_flips: int
    varied: str
    on: str
    fingerprint: Fingerprint

    def __post_init__(self) -> None:
        if not 0 <= self.num_flips <= self.num_items or not self.num_items:
            raise RecordError(f"{self.num_flips} flips of {self.num_items} items")

    @property
    def flip_rate(self) -> float:
        """The share of items that flip."""
        return self.num_flips / self.num_items


_FILE = SealedFile(
    record=Noise,
    error=BaselineError,
    version=2,
    damaged="the noise in {path} is damaged: {problem}. Measure it anew: quantguard aa",
)


def noise_path(baseline: pathlib.Path) -> pathlib.Path:
    """Return where the noise of a baseline belongs: beside it."""
    return baseline.with_name(f"{baseline.name.removesuffix('.json')}.noise")


def read_noise(path: pathlib.Path) -> Noise | None:
    """Read the noise, or None where it was never measured; raise BaselineError for a damaged file."""
    return _FILE.read(path) if path.exists() else None


def write_noise(path: pathlib.Path, noise: Noise) -> None:
    """Put it in its place atomically."""
    _FILE.write(path, noise)
