"""Export a quantized model that is larger than the memory it takes, and measure what the export takes.

python tests/studies/export.py --folder BIG     # the table of export.md: 3 billion parameters, 14 GB in BIG
python tests/studies/export.py --folder SMALL --hidden-size 64 --layers 3 --vocabulary 4096   # a sample

The checkpoint is the one of random weights that streaming.py writes. Each command runs in a process of its own.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import time

import streaming
import torch

from quantguard.pipeline import checking


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--hidden-size", type=int, default=2560)
    parser.add_argument("--layers", type=int, default=36)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    model, ours, theirs = (args.folder / name for name in ("model", "quantized", "exported"))
    count, _ = streaming.write_checkpoint(model, args.hidden_size, args.layers, args.vocabulary)
    print(f"torch {torch.__version__}, {count / 1e9:.2f} billion weights\n")
    print("| command | seconds | peak resident GiB | GiB written |\n|---|---|---|---|", flush=True)
    for folder in (ours, theirs):
        shutil.rmtree(folder, ignore_errors=True)
    commands = {
        "quantize --recipe w8a8": ["quantize", str(model), "--recipe", "w8a8", "--output", str(ours)],
        "export --format ascend": ["export", str(ours), "--format", "ascend", "--output", str(theirs)],
    }
    for (label, command), written in zip(commands.items(), (ours, theirs), strict=True):
        seconds, peak = measured(command)
        size = sum(file.stat().st_size for file in written.iterdir()) / 2**30
        print(f"| {label} | {seconds:.0f} | {peak:.2f} | {size:.2f} |", flush=True)
    seconds, peak = measured(["check", str(theirs)])
    print(f"| check | {seconds:.0f} | {peak:.2f} | |", flush=True)
    if defects := checking.check(theirs).defects:
        raise SystemExit(f"{len(defects)} defects, such as {defects[0]}")
    print("\nNo rule of the format is broken.")


def measured(command: list[str]) -> tuple[float, float]:
    """Run a command in a process of its own; return its seconds and peak memory in GiB."""
    code = "import sys; from quantguard.cli.__main__ import main; sys.argv[0] = 'quantguard'; sys.exit(main())"
    started, peak = time.monotonic(), 0
    with subprocess.Popen(
        [sys.executable, "-c", code, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            peak = max(peak, streaming.high_water_mark(process.pid))
            time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return time.monotonic() - started, peak / 2**20


if __name__ == "__main__":
    main()
