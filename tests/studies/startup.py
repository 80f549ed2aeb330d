"""Measure what the installed plugin adds to an empty pytest run: with and without it, in turn, other plugins left out.

Python and pytest keep their compiled modules, in a folder of the study's own; the first runs fill it and do not count.

python tests/studies/startup.py             # the figure of startup.md
python tests/studies/startup.py --pairs 2   # a sample
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

PLUGIN = ("-p", "pytest_quantguard.plugin")


def main() -> None:
    """Print the median of paired differences in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=25)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(folder)
        run(folder, *PLUGIN)
        differences = []
        for _ in range(args.pairs):
            without = run(folder)
            differences.append(run(folder, *PLUGIN) - without)
    print(
        f"the plugin adds {statistics.median(differences) * 1e3:.0f} ms to an empty run (median of {args.pairs} pairs)"
    )


def run(folder: str, *options: str) -> float:
    """Time ``pytest --collect-only`` in an empty folder, in seconds."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *options]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(pathlib.Path(folder) / "__pycache__")
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=False, capture_output=True, env=environment)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
