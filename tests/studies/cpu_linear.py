"""Time a W8A8 linear on the cpu backend against the bf16 linear, in turn within one run.

    python tests/studies/cpu_linear.py            # the table of cpu_linear.md
    python tests/studies/cpu_linear.py --pairs 5  # a sample

A W8A8 linear is quantize per token, int8 matmul and dequantize with bias, bfloat16 in and out.
"""

import argparse
import math
import time
from collections.abc import Callable

import torch

from quantguard.kernels.cpu.compiled import amx
from quantguard.modeling import QuantLinear
from quantguard.records import QuantArgs
from quantguard.rounding import nearest
from quantguard.stats import log_ratio_bounds

SHAPES = ((512, 2048, 2048), (512, 4096, 4096), (512, 2048, 5632), (1, 2048, 2048), (1, 4096, 4096))
WARM_UP_RUNS = 5


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100)
    args = parser.parse_args()
    matmul = "AMX tiles" if amx.is_available() else "dot products without AMX"
    print(f"torch {torch.__version__}, int8 {matmul}, {args.pairs} pairs, median and one-sided 95 % bounds\n")
    print("| tokens x in x out | threads | bf16 ms | W8A8 ms | times as fast | bounds |")
    print("|---|---|---|---|---|---|")
    for shape in SHAPES:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            print(row(shape, threads, args.pairs), flush=True)


def row(shape: tuple[int, int, int], threads: int, pairs: int) -> str:
    """Time one shape and return its row."""
    tokens, width, outputs = shape
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(tokens, width, generator=generator).bfloat16()
    linear = torch.nn.Linear(width, outputs).bfloat16()
    weight = nearest.quantize_weight(
        linear.weight.detach(), QuantArgs(num_bits=8, strategy="channel"), stats=None, options={}
    )
    quantized = QuantLinear(
        weight,
        linear.bias,
        input_activations=QuantArgs(num_bits=8, strategy="token", dynamic=True),
        backend="cpu",
        device_type="cpu",
    )
    slow, fast = in_turn(lambda: linear(x), lambda: quantized(x), pairs)
    estimate = log_ratio_bounds([math.log(a / b) for a, b in zip(slow, fast, strict=True)], alpha=0.05)
    middle = [sorted(times)[len(times) // 2] * 1e3 for times in (slow, fast)]
    label = "x".join(map(str, shape))
    return (
        f"| {label} | {threads} | {middle[0]:.2f} | {middle[1]:.2f} | {estimate.ratio:.2f} |"
        f" {estimate.low:.2f} to {estimate.high:.2f} |"
    )


def in_turn(first: Callable[[], object], second: Callable[[], object], pairs: int) -> tuple[list[float], list[float]]:
    """Time two calls A B B A, in seconds."""
    times: tuple[list[float], list[float]] = ([], [])
    works = (first, second)
    with torch.inference_mode():
        for work in works * WARM_UP_RUNS:
            work()
        for pair in range(pairs):
            for side in (0, 1) if pair % 2 == 0 else (1, 0):
                started = time.perf_counter()
                works[side]()
                times[side].append(time.perf_counter() - started)
    return times


if __name__ == "__main__":
    main()
