"""Measure what bookkeeping and report cost: gates of many items from results as xdist brings them to the files.

python tests/studies/report.py                        # the figures of report.md
python tests/studies/report.py --gates 2 --items 50   # a sample
"""

import argparse
import pathlib
import sys
import tempfile
import time

from quantguard.gates import GateResult
from quantguard.records import from_json, to_json
from quantguard.report import output_files

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
from tests.support.planted_results import accuracy


def main() -> None:
    """Print the seconds of each step and the sizes of the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gates", type=int, default=10)
    parser.add_argument("--items", type=int, default=1000)
    args = parser.parse_args()
    text = "The answer follows from what was given before. " * 20
    made = [
        accuracy(lost=args.items // 20, gained=args.items // 25, n=args.items, text=text) for _ in range(args.gates)
    ]
    started = time.perf_counter()
    results = [(f"test_{index}", from_json(GateResult, to_json(result))) for index, result in enumerate(made)]
    carried = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        output_files.write_all(pathlib.Path(folder), results)
        written = time.perf_counter()
        sizes = {path.name: path.stat().st_size for path in sorted(pathlib.Path(folder).iterdir())}
    print(f"| {args.gates} gates of {args.items} items | seconds |\n|---|---|")
    print(f"| results to JSON values and back | {carried - started:.2f} |")
    print(f"| report.html, summary.md, results.json | {written - carried:.2f} |")
    print("\n" + ", ".join(f"{name} {size / 1e6:.2f} MB" for name, size in sizes.items()))


if __name__ == "__main__":
    main()
