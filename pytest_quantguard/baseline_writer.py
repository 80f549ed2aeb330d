"""The writer of measured baselines: all that one test measures is stored together, or not at all if a part failed."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Literal

import pytest

from pytest_quantguard import run_errors
from pytest_quantguard.result_log import logged_on, read_logged
from quantguard.baselines import Baseline, LayerProfile, read, write_all
from quantguard.baselines.store import BaselineLocation
from quantguard.errors import BaselineError
from quantguard.gates import GateResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Stored = Baseline | LayerProfile
WRITER = pytest.StashKey["BaselineWriter"]()
_NOT_STORED = "what one test measures is stored together, and all of it has to end well"


@dataclasses.dataclass
class _Test:
    """A running test."""

    results: list[GateResult] = dataclasses.field(default_factory=list)
    failed: bool = False

    @property
    def pending(self) -> dict[str, Stored]:
        """The baselines that it has measured, by path."""
        return {str(r.pending_path): r.pending for r in self.results if r.pending is not None}


class BaselineWriter:
    """Collects the results of each test until it ends, and stores them; workers of xdist collect, but never write."""

    def __init__(self, config: pytest.Config, *, inconclusive: Literal["warn", "fail"]) -> None:
        self._config = config
        self._inconclusive = inconclusive
        self._writes = not hasattr(config, "workerinput")
        # The baselines that successful tests of this process have measured.
        self.measured: dict[str, Baseline] = {}
        self._tests: dict[tuple[str, str], _Test] = {}
        self._owners: dict[str, tuple[str, Stored]] = {}
        self._lines: dict[str, str] = {}
        self._refused: dict[str, str] = {}

    @classmethod
    def of(cls, config: pytest.Config, *, inconclusive: Literal["warn", "fail"]) -> BaselineWriter:
        """Return the writer of this process, which gates ask for measured baselines; create it if there is none."""
        return config.stash.setdefault(WRITER, cls(config, inconclusive=inconclusive))

    def take(self, report: pytest.TestReport, results: Iterable[GateResult]) -> None:
        """Record the results of a phase of a test; after teardown, store them or record why not."""
        key = (report.nodeid, str(getattr(report, "worker_id", "")))
        if report.when == "setup":
            # Another plugin may run the test again, and only the last attempt counts.
            self._tests[key] = _Test()
        test = self._tests.setdefault(key, _Test())
        test.results += results
        test.failed = test.failed or not (report.passed or report.skipped)
        if report.when == "teardown":
            self._end(report.nodeid, self._tests.pop(key))

    def lines(self) -> list[str]:
        """Return a line for each measured baseline: whether it was written, and why not."""
        return [f"baseline {what}: {path}" for path, what in self._lines.items()] + [
            f"baseline not written: {path}: {why}" for path, why in self._refused.items() if path not in self._lines
        ]

    def noted(self, result: GateResult) -> GateResult:
        """Add a note to a result whose measured baseline was not stored."""
        why = self._refused.get(str(result.pending_path)) if result.pending is not None else None
        if why is None or str(result.pending_path) in self._lines:
            return result
        return dataclasses.replace(result, notes=(*result.notes, f"not stored: {why}"))

    def _end(self, nodeid: str, test: _Test) -> None:
        if not test.pending:
            return
        if (why := self._problem(nodeid, test)) is not None:
            self._refused |= dict.fromkeys(test.pending, why)
            return
        if self._writes:
            self._put(nodeid, test.pending)
        self.measured |= {path: stored for path, stored in test.pending.items() if isinstance(stored, Baseline)}

    def _problem(self, nodeid: str, test: _Test) -> str | None:
        judged = [r for r in test.results if r.pending is None]
        if bad := [r for r in judged if r.fails(inconclusive=self._inconclusive) or r.unjudged is not None]:
            return f"{', '.join(f'{r.gate} of {nodeid} is {r.label}' for r in bad)}; {_NOT_STORED}"
        return f"{nodeid} failed; {_NOT_STORED}" if test.failed else None

    def _put(self, nodeid: str, pending: Mapping[str, Stored]) -> None:
        """Write the baselines of one test, unless another test of this run measured something else at a path."""
        for path, stored in pending.items():
            if path in self._owners and not _is_same(self._owners[path][1], stored):
                why = (
                    f"{nodeid} and {self._owners[path][0]} measured it, and not the same: an update of one would break"
                    " the other"
                )
                self._refused |= dict.fromkeys(pending, why)
                run_errors.note_error(self._config, f"baseline not written: {path}: {why}")
                return
        wanted = {path: stored for path, stored in pending.items() if not self._holds(path, stored)}
        changed = {path: stored for path, stored in wanted.items() if _stored_like(path, stored) != stored}
        try:
            write_all({pathlib.Path(path): stored for path, stored in changed.items()})
        except OSError as error:
            why = f"{error.strerror or error}. Make room, and measure it again"
            self._refused |= dict.fromkeys(changed, why)
            run_errors.note_error(self._config, f"baseline not written: {', '.join(changed)}: {why}")
            return
        self._owners |= {path: (nodeid, stored) for path, stored in wanted.items()}
        for path in pending:
            written = path in changed or self._lines.get(path) == "written"
            self._lines[path] = "written" if written else "unchanged"

    def _holds(self, path: str, stored: Stored) -> bool:
        """Tell whether another test of this run has already stored a baseline that contains all of these items."""
        known = self._owners[path][1] if path in self._owners else None
        return isinstance(known, Baseline) and isinstance(stored, Baseline) and _nests(stored, known)


class WorkerBaselines:
    """Collects in a worker of xdist the baselines that its own tests measure."""

    def __init__(self, writer: BaselineWriter) -> None:
        self._writer = writer

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record the results on a test's report."""
        self._writer.take(report, [read_logged(text).result for text in logged_on(report)])


def _is_same(one: Stored, other: Stored) -> bool:
    """Tell whether two baselines belong to the same run, of which one may have fewer items."""
    if isinstance(one, Baseline) and isinstance(other, Baseline):
        nested = _nests(one, other) or _nests(other, one)
    else:
        nested = type(one) is type(other)
    return nested and one.fingerprint == other.fingerprint


def _nests(one: Baseline, other: Baseline) -> bool:
    return set(one.sample_ids) <= set(other.sample_ids)


def _stored_like(path: str, pending: Stored) -> Stored | None:
    """Return the stored baseline or profile at a path, or None if there is none or it cannot be read."""
    try:
        file = pathlib.Path(path)
        return read(file, LayerProfile) if isinstance(pending, LayerProfile) else read(file)
    except BaselineError:
        return None


def claim(config: pytest.Config, nodeid: str, location: BaselineLocation | None) -> None:
    """Claim a baseline's path for a test; raise BaselineError if another check uses it for a different run."""
    claims = config.stash.setdefault(_CLAIMS, {})
    if location is None:
        return
    other, first = claims.setdefault(location.path, (nodeid, location))
    if (what := location.clash(first)) is not None:
        who = "two checks of it" if other == nodeid else other
        raise BaselineError(
            f"{nodeid} and {who} share the baseline {location.path}, and are not of the same run: {what}. An update of"
            " one would break the other. Give one of them a model or recipe of another name, or a run with"
            " --quantguard-baselines=DIR of its own"
        )


_CLAIMS = pytest.StashKey[dict[str, tuple[str, BaselineLocation]]]()
