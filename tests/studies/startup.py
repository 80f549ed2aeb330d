"""Measure what the installed plugin adds to an empty pytest run: with and without it, in turn.

python tests/studies/startup.py             # the figure of startup.md
python tests/studies/startup.py --pairs 2   # a sample
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time


def main() -> None:
    """Print the median of paired differences in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(folder, "-p", "quantguard")
        differences = []
        for _ in range(args.pairs):
            without = run(folder, "-p", "no:quantguard")
            differences.append(run(folder) - without)
    print(
        f"the plugin adds {statistics.median(differences) * 1e3:.0f} ms to an empty run (median of {args.pairs} pairs)"
    )


def run(folder: str, *options: str) -> float:
    """Time ``pytest --collect-only`` in an empty folder, in seconds."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *options]
    subprocess.run(command, cwd=folder, check=False, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
