"""The trial of a backend: one small quantized linear, compared with the reference."""

import pathlib
import types

import torch

from quantguard import kernels
from quantguard.errors import KernelError
from quantguard.kernels.dispatch import REFERENCE
from quantguard.numerics import QuantTensor
from quantguard.records import MissingRequirement, QuantArgs

_OP = "int8_linear"
_NUM_TOKENS, _IN_FEATURES, _OUT_FEATURES = 16, 256, 64
# Results are bfloat16, with neighbours 2^-8 apart: the bound catches wrong results and tolerates rounding.
_RELATIVE_ERROR = 2**-6
_ARGS = QuantArgs(num_bits=8, strategy="channel")


def run(backend: str, *, device: str) -> list[MissingRequirement]:
    """Import every op of a backend, run a W8A8 linear on ``device`` if it has one, and return what is wrong."""
    ops = _ops(backend)
    if not ops:
        return [
            MissingRequirement(
                what=f"the backend {backend} has no quantized operation yet; --backend auto picks one that has"
            )
        ]
    if _OP not in ops:
        return []
    if reason := ops[_OP].unsupported(_ARGS):
        return [MissingRequirement(what=f"its W8A8 refuses plain 8-bit weights: {reason}")]
    expected, found = _apply(kernels.resolve(_OP, REFERENCE), "cpu"), _apply(ops[_OP], device)
    error = ((found - expected).abs().max() / expected.abs().max()).item()
    # Not ``error > …``: a NaN has to fail too.
    if not error <= _RELATIVE_ERROR:
        return [
            MissingRequirement(
                what=f"a W8A8 linear on {device} is wrong: relative error {error:.2g} against the reference"
            )
        ]
    return []


def _ops(backend: str) -> dict[str, types.ModuleType]:
    found = {}
    for path in sorted(pathlib.Path(kernels.__path__[0]).glob("[!_]*.py")):
        try:
            module = kernels.resolve(path.stem, backend)
        except KernelError:
            continue
        if hasattr(module, "apply"):
            found[path.stem] = module
    return found


def _apply(op: types.ModuleType, device: str) -> torch.Tensor:
    """Run an op on numbers drawn by a fixed seed, and return float32 ``[num_tokens, out_features]`` on the CPU."""
    generator = torch.Generator().manual_seed(0)
    x, data = (
        torch.randint(-127, 128, (rows, _IN_FEATURES), generator=generator, dtype=torch.int8)
        for rows in (_NUM_TOKENS, _OUT_FEATURES)
    )
    x_scale, scale = (torch.rand(rows, 1, generator=generator) + 0.5 for rows in (_NUM_TOKENS, _OUT_FEATURES))
    packed = op.pack(QuantTensor(data=data, scale=scale, zero_point=None, args=_ARGS))
    buffers = {name: buffer.to(device) for name, buffer in packed.items()}
    result: torch.Tensor = op.apply(
        x.to(device), x_scale.to(device), buffers, None, args=_ARGS, output_dtype=torch.bfloat16
    )
    return result.cpu().float()
