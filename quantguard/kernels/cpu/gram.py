"""The Gram matrix of calibration inputs on AMX tiles: products of bfloat16 are exact in the float32 sums."""

import torch

from quantguard.kernels.cpu.compiled import amx
from quantguard.kernels.cpu.compiled import gram as compiled
from quantguard.numerics.torch_threads import launcher

# What one call lays out in tiles: twice so many tokens of 2,048 channels stay in a second-level cache of 2 MiB.
_TOKENS = 512


def suits(x: torch.Tensor) -> bool:
    """Tell whether the inputs, ``[num_tokens, in_features]``, can be multiplied on tiles here."""
    fits = x.shape[1] % compiled.BLOCK == 0 and x.device.type == "cpu"
    return x.dtype == torch.bfloat16 and fits and amx.is_available()


def add(gram: torch.Tensor, x: torch.Tensor) -> None:
    """Add ``xT x`` to ``gram``, float32 ``[in_features, in_features]``, on the diagonal and above; below, in part."""
    for tokens in x.split(_TOKENS):
        missing = -len(tokens) % compiled.TOKENS
        # Padding by nothing would copy.
        padded = torch.nn.functional.pad(tokens, (0, 0, 0, missing)) if missing else tokens.contiguous()
        shape = (2, x.shape[1] // amx.ROWS, len(padded) // compiled.TOKENS, amx.TILE_BYTES)
        tiles = torch.empty(shape, dtype=torch.uint8)
        arrays = (padded.view(torch.uint16).numpy(), gram.numpy(), tiles.numpy())
        compiled.add(*arrays, torch.get_num_threads(), launcher())
