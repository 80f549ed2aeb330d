"""What the linears share: the tile for so many tokens, and the launch of a product over blocks of the result."""

from typing import Any

import torch
import triton

from quantguard.kernels.int8_linear import Buffers
from quantguard.kernels.triton.forms import Constants, Kernel
from quantguard.kernels.triton.launch import float_type, launch


def choose_tile(tiles: tuple[Constants, ...], num_tokens: int) -> Constants:
    """Take the first tile that all tokens fit into, or the last."""
    return next((tile for tile in tiles if num_tokens <= tile["TOKENS"]), tiles[-1])


def multiply(
    function: Any,
    table: Kernel,
    tiles: tuple[Constants, ...],
    *,
    x: torch.Tensor,
    x_scale: torch.Tensor,
    weight: Buffers,
    bias: torch.Tensor | None,
    output_dtype: torch.dtype,
    **sizes: int,
) -> torch.Tensor:
    """Launch ``function`` in the form of ``table`` that fits the tokens; return ``[num_tokens, out_features]``."""
    (num_tokens, in_features), out_features = x.shape, weight["scale"].shape[-1]
    y = torch.empty(num_tokens, out_features, dtype=output_dtype, device=x.device)
    tile = choose_tile(tiles, num_tokens)
    launch(
        function,
        table.form(float_type(output_dtype), tile, BIAS=int(bias is not None)),
        num_blocks=triton.cdiv(num_tokens, tile["TOKENS"]) * triton.cdiv(out_features, tile["OUTPUTS"]),
        p_x=x.contiguous(),
        p_w=weight["data"],
        p_x_scale=x_scale.contiguous(),
        p_w_scale=weight["scale"],
        # Without a bias the kernel is another form, which reads nothing there.
        p_bias=weight["scale"] if bias is None else bias.contiguous(),
        p_y=y,
        num_tokens=num_tokens,
        in_features=in_features,
        out_features=out_features,
        **sizes,
    )
    return y
