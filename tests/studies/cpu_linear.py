"""Time the quantized linears of the cpu backend, and those of other libraries, against the bf16 linear, in turn.

    python tests/studies/cpu_linear.py            # the table of cpu_linear.md
    python tests/studies/cpu_linear.py --pairs 5  # a sample
    python tests/studies/cpu_linear.py --peers    # with onnxruntime 1.32.0, onnx, torchao 0.18.0

A row is one layer: activations quantized per token where they are, product, scales and bias; bfloat16 in and out, but
for ONNX Runtime, whose graph is float32. `decoder` is 8 layers of a Llama, 2,048 wide, over 512 tokens.
"""

import argparse
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from quantguard.errors import KernelError
from quantguard.kernels.cpu.compiled import amx
from quantguard.modeling import QuantizedLayer, QuantLinear, find_blocks, swap_linears
from quantguard.modeling.swapping import weight_bytes
from quantguard.records import QuantArgs
from quantguard.rounding import nearest
from quantguard.stats import log_ratio_bounds

Call = Callable[[], object]
SHAPES = ((512, 2048, 2048), (512, 4096, 4096), (512, 2048, 5632), (1, 2048, 2048), (1, 4096, 4096))
TOKENWISE = QuantArgs(num_bits=8, strategy="token", dynamic=True)
PRECISIONS = {
    "W8A8": (QuantArgs(num_bits=8, strategy="channel"), TOKENWISE),
    "W4A8": (QuantArgs(num_bits=4, strategy="channel"), TOKENWISE),
    "W4A8 g256": (QuantArgs(num_bits=4, strategy="group", group_size=256), TOKENWISE),
    "W8A16": (QuantArgs(num_bits=8, strategy="channel"), None),
    "W4A16 g128": (QuantArgs(num_bits=4, strategy="group", group_size=128, symmetric=False), None),
}
DECODER_LAYERS, DECODER_WIDTH, DECODER_TOKENS = 8, 2048, 512
WARM_UP_RUNS = 3


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--peers", action="store_true", help="time onnxruntime and torchao too")
    parser.add_argument("--decoder-layers", type=int, default=DECODER_LAYERS)
    args = parser.parse_args()
    matmul = "AMX tiles" if amx.is_available() else "dot products without AMX"
    print(f"torch {torch.__version__}, int8 {matmul}, {args.pairs} pairs, median and one-sided 95 % bounds\n")
    print("| tokens x in x out | threads | layer | bf16 ms | ms | times as fast | bounds | weight bytes of bf16's |")
    print("|---|---|---|---|---|---|---|---|")
    for shape in SHAPES:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            timed, refused = candidates(shape, threads, peers=args.peers)
            for name, reason in refused.items():
                print(f"| {'x'.join(map(str, shape))} | {threads} | {name} | not on this CPU: {reason} |", flush=True)
            for name, (work, linear, share) in timed.items():
                print(row("x".join(map(str, shape)), threads, name, linear, work, share, args.pairs), flush=True)
    torch.set_num_threads(2)
    for name in ("W8A8", "W4A8"):
        work, reference, share = decoder(name, args.decoder_layers)
        print(row("decoder", 2, name, reference, work, share, max(5, args.pairs // 6)), flush=True)


def candidates(
    shape: tuple[int, int, int], threads: int, *, peers: bool
) -> tuple[dict[str, tuple[Call, Call, str]], dict[str, str]]:
    """Return what is timed on a shape (the call, the bf16 linear to time it with, its share of bf16's bytes), by name.

    What this CPU has no kernel for comes second, with the reason.
    """
    tokens, width, outputs = shape
    x = torch.randn(tokens, width, generator=torch.Generator().manual_seed(0)).bfloat16()
    linear = nn.Linear(width, outputs).bfloat16()
    found: dict[str, tuple[Call, Call, str]] = {}
    refused: dict[str, str] = {}
    for name, (weights, activations) in PRECISIONS.items():
        data = nearest.quantize_weight(linear.weight.detach(), weights, stats=None, options={})
        try:
            quantized = QuantLinear(data, linear.bias, input_activations=activations, backend="cpu", device_type="cpu")
        except KernelError as error:
            refused[name] = str(error)
            continue
        found[name] = (lambda q=quantized: q(x), lambda: linear(x), bytes_share(quantized, linear))  # type: ignore[misc]
    if peers:
        found["ONNX Runtime W8A8"] = (onnx_runtime(width, outputs, x.float(), threads), lambda: linear(x), "")
        found["torchao W8A8"] = (torchao(width, outputs, x), lambda: linear(x), "")
    return found, refused


def bytes_share(quantized: nn.Module, reference: nn.Module) -> str:
    """Word the weight bytes of a module as a share of another's."""
    return f"{weight_bytes(quantized) / weight_bytes(reference):.2f}"


def row(label: str, threads: int, name: str, reference: Call, work: Call, share: str, pairs: int) -> str:  # noqa: PLR0917
    """Time two calls in turn and return the row."""
    slow, fast = in_turn(reference, work, pairs)
    estimate = log_ratio_bounds([math.log(a / b) for a, b in zip(slow, fast, strict=True)], alpha=0.05)
    middle = [sorted(times)[len(times) // 2] * 1e3 for times in (slow, fast)]
    return (
        f"| {label} | {threads} | {name} | {middle[0]:.2f} | {middle[1]:.2f} | {estimate.ratio:.2f} |"
        f" {estimate.low:.2f} to {estimate.high:.2f} | {share} |"
    )


def decoder(name: str, layers: int) -> tuple[Call, Call, str]:
    """Return the prefill of a quantized decoder of random weights, that of its bf16 original, and the bytes' share."""
    config = LlamaConfig(
        hidden_size=DECODER_WIDTH,
        intermediate_size=5632,
        num_hidden_layers=layers,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=1024,
    )
    torch.manual_seed(0)
    reference = LlamaForCausalLM(config).bfloat16()
    quantized = LlamaForCausalLM(config).bfloat16()
    quantized.load_state_dict(reference.state_dict())
    weights, activations = PRECISIONS[name]
    for block in find_blocks(quantized):
        layers_of_block = {
            linear_name: QuantizedLayer(
                weight=nearest.quantize_weight(linear.weight.detach(), weights, stats=None, options={}),
                input_activations=activations,
            )
            for linear_name, linear in block.linears.items()
        }
        swap_linears(block, layers_of_block, backend="cpu", device_type="cpu")
    ids = torch.randint(1024, (1, DECODER_TOKENS))
    share = bytes_share(quantized.model.layers, reference.model.layers)
    return lambda: quantized(ids), lambda: reference(ids), share


def onnx_runtime(width: int, outputs: int, x: torch.Tensor, threads: int) -> Call:
    """Return ONNX Runtime's dynamically quantized linear, uint8 activations by int8 weights, float32 in and out."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    weight = torch.randint(-127, 128, (width, outputs), dtype=torch.int8)
    constants: dict[str, torch.Tensor] = {
        "weight": weight,
        "weight_zero": torch.zeros(outputs, dtype=torch.int8),
        "weight_scale": torch.rand(outputs),
        "bias": torch.rand(outputs),
    }
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["q", "weight", "zero", "weight_zero"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["scale", "weight_scale"], ["steps"]),
        helper.make_node("Mul", ["floats", "steps"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bias"], ["y"]),
    ]
    sides = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, s]) for n, s in (("x", width), ("y", outputs))]
    held = [numpy_helper.from_array(tensor.numpy(), name) for name, tensor in constants.items()]
    graph = helper.make_graph(nodes, "linear", sides[:1], sides[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    given = {"x": x.numpy()}
    return lambda: session.run(None, given)


def torchao(width: int, outputs: int, x: torch.Tensor) -> Call:
    """Return torchao's linear of int8 weights and activations quantized per token."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    model: Any = nn.Sequential(nn.Linear(width, outputs).bfloat16())
    quantize_(model, Int8DynamicActivationInt8WeightConfig())
    return lambda: model(x)


def in_turn(first: Call, second: Call, pairs: int) -> tuple[list[float], list[float]]:
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
