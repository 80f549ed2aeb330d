"""Which of the default gates see which planted fault, and how often they raise an alarm over the same model.

The faults are the files of ``tests/faults``, the gates those of ``tests/gates/quantguard.toml``. Rows are kept in a
folder as they come, so that a run that is broken off goes on.

python tests/studies/planted_faults.py --kept FOLDER                  # the tables of planted_faults.md
python tests/studies/planted_faults.py --only bias_dropped --runs 2   # a sample
"""

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import _same_model

from quantguard import stats
from tests.support import fault_lab

ALPHA = 0.05
Row = dict[str, Any]


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", type=pathlib.Path, help="where rows are kept (default: nowhere)")
    parser.add_argument("--only", nargs="+", help="these faults and no others")
    parser.add_argument("--runs", type=int, default=200, help="runs of the same model")
    parser.add_argument("--pool", type=int, default=600, help="items that those are drawn from")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        kept = args.kept or pathlib.Path(scratch) / "kept"
        kept.mkdir(parents=True, exist_ok=True)
        # What the gates print is not of interest here.
        printed = os.dup(1)
        os.dup2(2, 1)
        faults = run_faults(pathlib.Path(scratch), kept / "faults.jsonl", args.only or fault_lab.names())
        same = _same_model.run(pathlib.Path(scratch) / "same", kept / "same.jsonl", args.runs, pool=args.pool)
        sys.stdout.flush()
        os.dup2(printed, 1)
    print_faults(faults)
    print_same(same)


def run_faults(folder: pathlib.Path, kept: pathlib.Path, names: Sequence[str]) -> list[Row]:
    """Run the faults that ``kept`` has no row of; return the rows of all, in the order of their names."""
    rows = {row["fault"]: row for row in map(json.loads, kept.read_text().splitlines())} if kept.is_file() else {}
    for name in names:
        if name not in rows:
            seen = [dataclasses.asdict(entry) for entry in fault_lab.run_fault(name, folder)]
            rows[name] = {"fault": name, "seen": seen}
            with kept.open("a") as stream:
                stream.write(json.dumps(rows[name]) + "\n")
    return [rows[name] for name in names]


def print_faults(rows: Sequence[Row]) -> None:
    """Print what sees what."""
    alarms = {row["fault"]: _alarms(row) for row in rows}
    unseen = [name for name, gates in alarms.items() if not gates]
    low, high = stats.rate_bounds(len(rows) - len(unseen), len(rows), alpha=ALPHA / 2)
    print(f"## {len(rows)} faults\n")
    print(f"{len(rows) - len(unseen)} are seen by a named gate, {1 - len(unseen) / len(rows):.1%}", end="")
    print(f" (exact 95 % interval {low:.1%} to {high:.1%}). Seen by none: {', '.join(unseen) or 'not one'}.\n")
    print("| gate | faults that it sees | that no other gate sees |\n|---|---|---|")
    kinds = list(dict.fromkeys(entry["gate"] for row in rows for entry in row["seen"]))
    for kind in kinds:
        alone = sum(list(gates) == [kind] for gates in alarms.values())
        print(f"| {kind} | {sum(kind in gates for gates in alarms.values())} | {alone} |")
    print("\n| area | faults | seen |\n|---|---|---|")
    for area, names in _by_area(alarms).items():
        print(f"| {area} | {len(names)} | {sum(bool(alarms[name]) for name in names)} |")
    print("\n| fault | what is wrong | recipe | seen by | what the first of them says |")
    print("|---|---|---|---|---|")
    for name, gates in alarms.items():
        fault = fault_lab.load(name)
        shown = ", ".join(f"{gate} {outcome}" for gate, (outcome, _) in gates.items()) or "**nothing**"
        said = next((reason for _, reason in gates.values()), "")
        print(f"| `{name}` | {str(fault.__doc__).strip()} | {fault.RECIPE} | {shown} | {_short(said)} |")


def _alarms(row: Row) -> dict[str, tuple[str, str]]:
    """Return outcome and reason of the gates that call a run broken."""
    seen = [fault_lab.Seen(**entry) for entry in row["seen"]]
    return {entry.gate: (entry.outcome, entry.reason) for entry in seen if entry.is_alarm}


def _by_area(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(fault_lab.load(name).AREA, []).append(name)
    return found


def _short(reason: str) -> str:
    line = re.sub(r"/\S*/(?=\S+\.json)", "", reason).replace("|", "/").replace("\n", " ")
    return line if len(line) <= 150 else f"{line[:149]}…"


def print_same(rows: Sequence[Row]) -> None:
    """Print how often which gate said what of the same model."""
    print(f"\n## {len(rows)} runs of the same model\n")
    print("| decoding | gate | runs | REGRESSED or ERROR | exact 95 % interval | INCONCLUSIVE |")
    print("|---|---|---|---|---|---|")
    counts: dict[tuple[str, str], collections.Counter[str]] = {}
    for row in rows:
        decoding = "sampled" if row["run"] % 2 else "greedy"
        for entry in row["seen"]:
            counts.setdefault((decoding, entry["gate"]), collections.Counter())[entry["outcome"]] += 1
    for (decoding, kind), outcomes in sorted(counts.items()):
        total, undecided = outcomes.total(), outcomes["INCONCLUSIVE"]
        alarms = total - outcomes["PASS"] - undecided
        low, high = stats.rate_bounds(alarms, total, alpha=ALPHA / 2)
        print(f"| {decoding} | {kind} | {total} | {alarms} | {low:.1%} to {high:.1%} | {undecided} |")


if __name__ == "__main__":
    main()
